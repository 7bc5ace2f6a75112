
# Values that dlock itself knows, locks that are held or awaited among them; else names of files.
function __fish_dlock_values
    set -l words (commandline -xpc 2>/dev/null; or commandline -opc)
    set -e words[1]
    command dlock __complete fish $words (commandline -ct) 2>/dev/null
    or __fish_complete_path (commandline -ct)
end

