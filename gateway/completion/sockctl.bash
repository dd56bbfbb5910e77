# bash completion of sockctl(8): source it, or put it into /usr/share/bash-completion/completions under the name sockctl.
# It needs nothing of the bash-completion package. Whoever changes a command of gateway/cli changes it here.

# The options of a command, those with a value marked by '='.
_sockctl_options() {
    local daemon='-s= -f= --json' filters='--user= --from= --to= --rule= --egress= --session='
    case $1 in
        status | metrics) echo "$daemon" ;;
        sessions) echo "$daemon --sort= -n= $filters" ;;
        top) echo "-s= -f= $filters -d= -n= --batch --json --sort=" ;;
        tail) echo "$daemon $filters" ;;
        kill) echo "$daemon $filters --all" ;;
        rules) echo "$daemon --unused" ;;
        routes) echo "$daemon --files" ;;
        explain) echo "$daemon --files -C= --dialect= --from= --to= --user= --auth= --method= --at= --address=" ;;
        resolve) echo "$daemon -t= --from= --trace" ;;
        cache) echo "$daemon --zone= -n=" ;;
        reload) echo "$daemon --recheck" ;;
        drain) echo "$daemon --timeout=" ;;
        check) echo '-v --verbose --dialect=' ;;
        convert | password) ;;
    esac
}

# The values of an option of a command; '@file' for the names of files.
_sockctl_values() {
    case $1:$2 in
        *:-s | *:-f | *:-C) echo @file ;;
        *:--dialect) echo 'classic 1992' ;;
        sessions:--sort) echo 'bytes age' ;;
        top:--sort) echo 'session user client destination rule uplink state age bytes rate' ;;
        explain:--auth) echo 'none password' ;;
        explain:--method) echo 'connect bind udp' ;;
        resolve:-t) echo 'A AAAA CAA CNAME HTTPS MX NAPTR NS PTR SOA SRV SVCB TXT' ;;
    esac
}

_sockctl() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    local commands='status sessions top tail kill rules routes explain resolve cache reload drain metrics check convert password'
    local options words=
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$current")
        return
    fi
    options=" $(_sockctl_options "$command") "
    if [[ $options == *" $before= "* ]]; then
        words=$(_sockctl_values "$command" "$before")
    elif [[ $current == -* ]]; then
        words="${options//=/} -h --help"
    elif [[ $command == check || $command == convert ]]; then
        words=@file
    elif [[ $command == cache && $before == cache ]]; then
        words='flush dump'
    fi
    if [[ $words == @file ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}

complete -F _sockctl sockctl
