#!/bin/sh
# Gives a one-time code to a wgmfa gateway inside the tunnel, on a machine without wgmfa: wgmfa-code.sh GATEWAY [PORT].
# Needs ncat or bash, and a terminal. Takes 60 s at most. Ends with 0: open (or nothing is closed), 3: refused, 4: no code,
# 5: no gateway asks.
# shellcheck disable=SC2016,SC2094
: "${1:?the address of the gateway is missing}"
(: </dev/tty) 2>/dev/null || { echo "code needed: $0 $*"; exit 4; }
folder=$(mktemp -d) && mkfifo "$folder/said" || exit 1
trap 'stty echo </dev/tty; rm -r "$folder"' EXIT
trap 'exit 4' HUP INT TERM
hear() { timeout "$1" dd bs=400 count=1 2>/dev/null | head -n 1 | tr -cd '[:print:]'; }
if command -v ncat >/dev/null; then set -- ncat -w 10 "$1" "${2:-7777}"; else
    set -- bash -c 'exec 3<>"/dev/tcp/$0/$1" && { cat <&3 & cat >&3; kill $!; }' "$1" "${2:-7777}"
fi
timeout 60 "$@" <"$folder/said" 2>/dev/null | {
    exec 3>"$folder/said"
    question=$(hear 10)
    case $question in
        wgmfa\ *) ;;
        "error: nothing holds you back, "*) echo "${question#error: }"; exit 0 ;;
        *) echo "no gateway asks for a code: ${question:-no answer}" >&2; exit 5 ;;
    esac
    printf '%s ' "$question" >/dev/tty
    stty -echo </dev/tty
    code=$(timeout --foreground 40 dd bs=64 count=1 2>/dev/null </dev/tty)
    echo >/dev/tty
    [ -n "$code" ] || exit 4
    printf '%s\n' "$code" >&3
    answer=$(hear 10)
    echo "${answer:-no answer}"
    case $answer in ok:*) ;; *) exit 3 ;; esac
}
