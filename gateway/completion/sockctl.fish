# fish completion of sockctl(8): put it into /usr/share/fish/vendor_completions.d.
# Whoever changes a command of gateway/cli changes it here.

function __sockctl_command --description 'Whether the command is one of these'
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv
end

function __sockctl_no_command --description 'Whether there is no command yet'
    test (count (commandline -opc)) -eq 1
end

complete -c sockctl -f

complete -c sockctl -n __sockctl_no_command -a status -d 'Show how the daemon is, and what each process may do'
complete -c sockctl -n __sockctl_no_command -a sessions -d 'List the sessions of now'
complete -c sockctl -n __sockctl_no_command -a top -d 'Watch the sessions live, full-screen'
complete -c sockctl -n __sockctl_no_command -a tail -d 'Print the records of sessions as they end'
complete -c sockctl -n __sockctl_no_command -a kill -d 'End sessions'
complete -c sockctl -n __sockctl_no_command -a rules -d 'Show what each line of sockd.conf was used for'
complete -c sockctl -n __sockctl_no_command -a routes -d 'Show the uplinks, how they stand, and what goes where'
complete -c sockctl -n __sockctl_no_command -a explain -d 'Say which line decides about a request, and why'
complete -c sockctl -n __sockctl_no_command -a resolve -d 'Ask the resolver as a client does, and show why so'
complete -c sockctl -n __sockctl_no_command -a cache -d 'Forget or show the answers that the resolver keeps'
complete -c sockctl -n __sockctl_no_command -a reload -d 'Have the daemon read its files anew'
complete -c sockctl -n __sockctl_no_command -a drain -d 'Accept nobody any more, and end after the last session'
complete -c sockctl -n __sockctl_no_command -a metrics -d 'Print the metrics as Prometheus gets them'
complete -c sockctl -n __sockctl_no_command -a check -d 'Check configuration files and report every mistake'
complete -c sockctl -n __sockctl_no_command -a convert -d "Turn a sockd.conf of 1992 into today's masks"
complete -c sockctl -n __sockctl_no_command -a password -d 'Make the line of a user for the passwords file'
complete -c sockctl -n __sockctl_no_command -l version -d 'Show the version'
complete -c sockctl -s h -l help -d 'Show the options'

set -l daemon status sessions top tail kill rules routes explain resolve cache reload drain metrics
complete -c sockctl -n "__sockctl_command $daemon" -s s -r -F -d 'The control socket'
complete -c sockctl -n "__sockctl_command $daemon" -s f -r -F -d 'The settings'

set -l json status sessions top tail kill rules routes explain resolve cache reload drain metrics
complete -c sockctl -n "__sockctl_command $json" -l json -d 'Print JSON'

set -l filtered sessions top tail kill
complete -c sockctl -n "__sockctl_command $filtered explain" -l user -x -a '(__fish_complete_users)' -d 'The user id'
complete -c sockctl -n "__sockctl_command $filtered explain" -l from -x -d 'The client'
complete -c sockctl -n "__sockctl_command $filtered explain" -l to -x -d 'The destination'
complete -c sockctl -n "__sockctl_command $filtered" -l rule -x -d 'The line that permitted it'
complete -c sockctl -n "__sockctl_command $filtered" -l egress -x -d 'The uplink or outgoing address'
complete -c sockctl -n "__sockctl_command $filtered" -l session -x -d 'The id'

complete -c sockctl -n '__sockctl_command sessions' -l sort -x -a 'bytes age' -d 'Which come first'
complete -c sockctl -n '__sockctl_command sessions' -s n -x -d 'How many at most'
complete -c sockctl -n '__sockctl_command top' -l sort -x -d 'By which column' \
    -a 'session user client destination rule uplink state age bytes rate'
complete -c sockctl -n '__sockctl_command top' -s d -x -d 'Seconds between two looks'
complete -c sockctl -n '__sockctl_command top' -s n -x -d 'How many looks'
complete -c sockctl -n '__sockctl_command top' -l batch -d 'Plain text instead of a screen'
complete -c sockctl -n '__sockctl_command kill' -l all -d 'Every session'
complete -c sockctl -n '__sockctl_command rules' -l unused -d 'Only lines that never decided'
complete -c sockctl -n '__sockctl_command routes explain' -l files -d 'By the files as they are now'
complete -c sockctl -n '__sockctl_command explain' -s C -r -F -d 'By a sockd.conf alone'
complete -c sockctl -n '__sockctl_command explain' -l auth -x -a 'none password' -d 'How the user is proved'
complete -c sockctl -n '__sockctl_command explain' -l method -x -a 'connect bind udp' -d 'What is asked for'
complete -c sockctl -n '__sockctl_command explain' -l at -x -d 'The local time'
complete -c sockctl -n '__sockctl_command explain' -l address -x -d 'An address of the name'
complete -c sockctl -n '__sockctl_command explain check' -l dialect -x -a 'classic 1992' -d 'The sense of the masks'
complete -c sockctl -n '__sockctl_command resolve' -s t -x -d 'The type' \
    -a 'A AAAA CAA CNAME HTTPS MX NAPTR NS PTR SOA SRV SVCB TXT'
complete -c sockctl -n '__sockctl_command resolve' -l from -x -d 'As this client'
complete -c sockctl -n '__sockctl_command resolve' -l trace -d 'Show each step'
complete -c sockctl -n '__sockctl_command cache; and not __fish_seen_subcommand_from flush dump' -a 'flush dump'
complete -c sockctl -n '__sockctl_command cache' -l zone -x -d 'Only this zone'
complete -c sockctl -n '__sockctl_command cache' -s n -x -d 'How many at most'
complete -c sockctl -n '__sockctl_command reload' -l recheck -d 'End the sessions that are denied now'
complete -c sockctl -n '__sockctl_command drain' -l timeout -x -d 'Then end what is left'
complete -c sockctl -n '__sockctl_command check' -s v -l verbose -d 'Print what was understood'
complete -c sockctl -n '__sockctl_command check convert' -F
complete -c sockctl -n '__sockctl_command password' -x -a '(__fish_complete_users)'
