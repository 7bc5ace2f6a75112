
# Values that dlock itself knows, locks that are held or awaited among them. Succeeds where they are what belongs here,
# also when there are none.
(( $+functions[_dlock_values] )) ||
_dlock_values() {
    local found
    local -a values
    # Whoever comes after the first completer comes because there was nothing: asking again would take as long again.
    if [[ ${_completer:-complete} != complete ]]; then
        return ${_dlock_asked:-1}
    fi
    found=$(command dlock __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    typeset -gi _dlock_asked=$?
    (( _dlock_asked )) && return 1
    values=("${(@f)found}")
    [[ -z $found ]] || compadd -a -- values
    return 0
}

