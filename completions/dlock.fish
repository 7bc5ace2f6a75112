# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_dlock_global_optspecs
    string join \n h/help V/version
end

function __fish_dlock_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_dlock_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_dlock_using_subcommand
    set -l cmd (__fish_dlock_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c dlock -n "__fish_dlock_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_needs_command" -s V -l version -d 'Print version'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "run" -d 'Run a command while holding a lock'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "acquire" -d 'Take a lock, print its owner token, and leave it taken'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "renew" -d 'Set the lease of a lock that `acquire` took to a TTL from now'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "release" -d 'Give up a lock that `acquire` took, or take one from its holder'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "status" -d 'Show who holds a lock, since when, and who waits for it'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "list" -d 'Show every lock that is held or awaited'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "top" -d 'Show every lock that is held or awaited, live, on the whole terminal'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "doctor" -d 'Say how far the locks of this deployment can be trusted'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "bench" -d 'Measure how fast the locks of this deployment are, and say which lease is sensible'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "fence-check" -d 'Refuse a write whose fencing token is out of date'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "completions" -d 'Print the completion script for a shell'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "man" -d 'Print a manual page in roff'
complete -c dlock -n "__fish_dlock_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dlock -n "__fish_dlock_using_subcommand run" -s c -l command -d 'Run STRING with $SHELL -c instead (/bin/sh where SHELL is not set)' -r -f -a "(__fish_complete_command)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -s k -l key -d 'Name of the lock; given several times: all of them or none' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l ttl -d 'Lease: how long a crash can block others [default: 30s]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l fence-file -d 'Write the fencing token into this file before the command starts' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l hold-at-least -d 'Leave the lock taken until so long after it was granted, also when the command ends earlier' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l lock-delay -d 'After a crash or a lost lease nobody gets the lock for this long beyond the TTL' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l slots -d 'At most N may hold it at the same time' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -s w -l wait -d 'Give up after this long; 0 is -n [default: wait for ever]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l max-waiters -d 'Give up at once when N others already wait; 0 is -n' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l jitter -d 'Sleep a random time up to this before contending' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -s E -l conflict-exit-code -d 'Exit status when the lock was not obtained [default: 75]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l max-runtime -d 'Stop the command and all that it started after this long; status 124' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l kill-after -d 'Time between --stop-signal and KILL, wherever dlock stops the command [default: TTL/5, at most 5s]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l stop-signal -d 'Signal that asks the command to end, wherever dlock stops it [default: TERM]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l on-lost -d 'When the lease is lost: kill, or warn and leave the command alone [default: kill]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l descendants -d 'Processes that the command leaves behind when it ends: ignore, wait or kill [default: ignore]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand run" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l label -d 'What `status` shows for this holder, beside host, pid and user' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand run" -s x -l exclusive -d 'Nobody else may hold it meanwhile; this is the default'
complete -c dlock -n "__fish_dlock_using_subcommand run" -s s -l shared -d 'Others may hold it meanwhile who say the same: readers'
complete -c dlock -n "__fish_dlock_using_subcommand run" -s n -l nonblock -d 'Do not wait: fail at once when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand run" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand run" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand run" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s k -l key -d 'Name of the lock; given several times: all of them or none' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l ttl -d 'How long the lock stays without a renewal; has no default' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l lock-delay -d 'After a crash or a lost lease nobody gets the lock for this long beyond the TTL' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l slots -d 'At most N may hold it at the same time' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s w -l wait -d 'Give up after this long; 0 is -n [default: wait for ever]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l max-waiters -d 'Give up at once when N others already wait; 0 is -n' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l jitter -d 'Sleep a random time up to this before contending' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s E -l conflict-exit-code -d 'Exit status when the lock was not obtained [default: 75]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l label -d 'What `status` shows for this holder, beside host, pid and user' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l export -d 'Print variables, for `eval` or as a CI environment file' -r -f -a "shell\t'`export NAME=value` lines for `eval`, the default; on failure `(exit N)`'
env\t'Bare `NAME=value` lines, for a CI environment file'"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s x -l exclusive -d 'Nobody else may hold it meanwhile; this is the default'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s s -l shared -d 'Others may hold it meanwhile who say the same: readers'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s n -l nonblock -d 'Do not wait: fail at once when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l json -d 'Print one JSON object instead of the token'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s k -l key -d 'Name of the lock; may be given several times [default: $DLOCK_KEY, one on each line]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l token -d 'The owner token that `acquire` printed [default: $DLOCK_TOKEN]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l ttl -d 'The lease from now [default: what the lock was acquired with]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand release" -s k -l key -d 'Name of the lock; may be given several times [default: $DLOCK_KEY, one on each line]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l token -d 'The owner token that `acquire` printed [default: $DLOCK_TOKEN]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l id -d 'Which holder, where there are several: its id, as `status` shows it' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand release" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand release" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand release" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand release" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand release" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand release" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand release" -l force -d 'Take the lock from its holder: its command is stopped, then the lock is free'
complete -c dlock -n "__fish_dlock_using_subcommand release" -l yes -d 'Do not ask; needed where there is no terminal'
complete -c dlock -n "__fish_dlock_using_subcommand release" -l now -d 'Free the lock at once, though its command may run on for as long as its lease would last'
complete -c dlock -n "__fish_dlock_using_subcommand release" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand release" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand release" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand status" -s k -l key -d 'Name of the lock; the same as a positional KEY' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand status" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand status" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand status" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand status" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand status" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand status" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l slots -d 'At most N may hold it at the same time' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand status" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand status" -l json -d 'Print a JSON array, one object per key'
complete -c dlock -n "__fish_dlock_using_subcommand status" -l watch -d 'Show it again at each change, until interrupted'
complete -c dlock -n "__fish_dlock_using_subcommand status" -s x -l exclusive -d 'Nobody else may hold it meanwhile; this is the default'
complete -c dlock -n "__fish_dlock_using_subcommand status" -s s -l shared -d 'Others may hold it meanwhile who say the same: readers'
complete -c dlock -n "__fish_dlock_using_subcommand status" -l exit-code -d 'Exit with 75 when -n would not get one of the keys, in the mode given'
complete -c dlock -n "__fish_dlock_using_subcommand status" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand status" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand list" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand list" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand list" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand list" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand list" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand list" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand list" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand list" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand list" -l json -d 'Print a JSON array, one object per key'
complete -c dlock -n "__fish_dlock_using_subcommand list" -l watch -d 'Show it again at each change, until interrupted'
complete -c dlock -n "__fish_dlock_using_subcommand list" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand list" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand top" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand top" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand top" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand top" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand top" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand top" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand top" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand top" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand top" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand top" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l config -d 'Show the configuration instead, with FILE in place of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l profile -d 'Also use what stands in [profile.NAME] of the files' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l ttl -d 'The lease that the locks will have: slow answers and session timeouts are judged by it [default: 30s]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l before -d 'With -b redis+zk: list who holds or awaits a lock on Redis alone, before everybody changes to BACKEND (zk)' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l json -d 'Print JSON: an array of findings, or with --config one object'
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l duration -d 'How long measuring takes, in all [default: 30s]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l contenders -d 'How many processes contend for the lock at once [default: 8]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l ttl -d 'Lease, as run has it: what is said of it is judged by the renewals that were measured [default: 30s]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l lock-delay -d 'After a crash or a lost lease nobody gets the lock for this long beyond the TTL' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l slots -d 'At most N may hold it at the same time' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s b -l backend -d 'file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l redis -d 'Redis server; several are independent masters [default: redis://127.0.0.1:6379]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l redis-password-file -d 'File whose first line is the Redis password' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l tls-ca -d 'File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system\'s]' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l tls-cert -d 'File with the certificate that dlock shows to the server (PEM)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l tls-key -d 'File with the private key of --tls-cert (PEM, without a passphrase)' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l wait-replicas -d 'A grant counts only when N replicas of the Redis master have it, and so does each renewal' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l layout -d 'Share locks with another library, see below for which [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l zk -d 'ZooKeeper servers [default: 127.0.0.1:2181]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l zk-auth-file -d 'File whose first line is user:password, by which ZooKeeper\'s ACLs know dlock' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l zk-acl -d 'What others may do with what dlock creates on ZooKeeper: open or creator' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l fence-floor -d 'Added to every fencing token, 0 or more [default: 0]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l dir -d 'Existing directory for lock files [default: this user\'s own]' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l namespace -d 'What sets dlock\'s keys apart from others\' [default: dlock]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l config -d 'Read this file instead of ~/.config/dlock/config.toml' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l profile -d 'Also use what stands in [profile.NAME] of these files, before what stands above it' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l label -d 'What `status` shows for this holder, beside host, pid and user' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s x -l exclusive -d 'Nobody else may hold it meanwhile; this is the default'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s s -l shared -d 'Others may hold it meanwhile who say the same: readers'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l strict -d 'Take no lock from a server of which `dlock doctor` would warn'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l json -d 'Print one JSON object'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -l file -d 'The file that remembers the highest token so far; made when there is none' -r -F
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -l log-format -d 'How messages are written: text, or json for one object a line [default: text]' -r
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -l color -d 'Colours: auto (on a terminal), always or never [default: auto]' -r
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -s q -l quiet -d 'No notices, warnings and waiting lines, and no word when the lock is held'
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -s v -l verbose -d 'Say what dlock does'
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c dlock -n "__fish_dlock_using_subcommand completions" -s h -l help -d 'Print help'
complete -c dlock -n "__fish_dlock_using_subcommand man" -l out -d 'Write all pages into this directory instead' -r -f -a "(__fish_complete_directories)"
complete -c dlock -n "__fish_dlock_using_subcommand man" -s h -l help -d 'Print help'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "run" -d 'Run a command while holding a lock'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "acquire" -d 'Take a lock, print its owner token, and leave it taken'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "renew" -d 'Set the lease of a lock that `acquire` took to a TTL from now'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "release" -d 'Give up a lock that `acquire` took, or take one from its holder'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "status" -d 'Show who holds a lock, since when, and who waits for it'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "list" -d 'Show every lock that is held or awaited'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "top" -d 'Show every lock that is held or awaited, live, on the whole terminal'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "doctor" -d 'Say how far the locks of this deployment can be trusted'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "bench" -d 'Measure how fast the locks of this deployment are, and say which lease is sensible'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "fence-check" -d 'Refuse a write whose fencing token is out of date'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "completions" -d 'Print the completion script for a shell'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "man" -d 'Print a manual page in roff'
complete -c dlock -n "__fish_dlock_using_subcommand help; and not __fish_seen_subcommand_from run acquire renew release status list top doctor bench fence-check completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'

# Values that dlock itself knows, locks that are held or awaited among them; else names of files.
function __fish_dlock_values
    set -l words (commandline -xpc 2>/dev/null; or commandline -opc)
    set -e words[1]
    command dlock __complete fish $words (commandline -ct) 2>/dev/null
    or __fish_complete_path (commandline -ct)
end

complete -c dlock -n "__fish_dlock_using_subcommand run" -s k -l key -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l stop-signal -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l on-lost -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l descendants -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand run" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s k -l key -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand acquire" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s k -l key -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand renew" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -s k -l key -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand release" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -s k -l key -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand status" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand list" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand top" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l before -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand doctor" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -s b -l backend -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l layout -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l zk-acl -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l profile -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand bench" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -l log-format -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand fence-check" -l color -r -f -a "(__fish_dlock_values)"
complete -c dlock -n "__fish_dlock_using_subcommand man" -f -a "(__fish_dlock_values)"
