
# Values that dlock itself knows, locks that are held or awaited among them. Succeeds where they are what belongs here,
# also when there are none.
_dlock_values() {
    local found
    [[ "${BASH_VERSINFO[0]}" -ge 4 ]] || return 1
    found=$(command dlock __complete bash "${COMP_WORDBREAKS}" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null) || return 1
    # No names of files in their place.
    compopt +o default +o bashdefault
    COMPREPLY=()
    [[ -z "${found}" ]] || mapfile -t COMPREPLY <<<"${found}"
}
