# Sourced by start-kafka.sh and start-registry.sh: a Java service on this machine. `pid` and `log` are its files, `port` is where it listens.
me=$(basename "$0")

running() { [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
lacking() { echo "$me: $1" >&2; exit 3; }
java_there() { command -v java >/dev/null || lacking "Java is missing; on Debian and Ubuntu: apt install openjdk-17-jre-headless"; }
maven_there() { command -v mvn >/dev/null || lacking "Maven is missing; on Debian and Ubuntu: apt install maven"; }

await() { # what it is
    for _ in $(seq 600); do
        listens && { echo "$1 listens on 127.0.0.1:$port"; return; }
        running || break
        sleep 0.1
    done
    echo "$me: $1 did not start; the end of $log:" >&2
    tail -20 "$log" >&2
    exit 1
}

end() { # signal
    running || { rm -f "$pid"; return 0; }
    kill "-$1" "$(cat "$pid")"
    for _ in $(seq 300); do running || break; sleep 0.1; done
    running && { echo "$me: $(cat "$pid") does not end" >&2; exit 1; }
    rm -f "$pid"
}

status() { if running && listens; then echo "running on 127.0.0.1:$port"; else echo "not running"; exit 1; fi; }
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
