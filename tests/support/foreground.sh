#!/bin/sh
# foreground.sh COMMAND...: run it in a process group of its own in the terminal's foreground. Ctrl-C then ends the
# command and leaves the make(1) above alone, which would end with a failure; Ctrl-Z is ignored, as nobody could resume.
read -r _ _ _ _ group _ _ foreground _ </proc/self/stat
# In the background, or without a terminal, there is no Ctrl-C to keep from make.
[ "$group" = "$foreground" ] || exec "$@"
set -m
# If this shell is ended, the command is too.
(trap '' TSTP && exec setpriv --pdeathsig TERM "$@")
