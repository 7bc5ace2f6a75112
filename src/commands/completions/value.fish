complete -c dlock -n "__fish_dlock_using_subcommand SUBCOMMAND" OPTION -f -a "(__fish_dlock_values)"
