# What bare.sh does with the package in a root that has none of the module's
# sources, as a host of a fleet: /root/before.deb and /root/now.deb are two
# versions of it.
#
#   install   from a bare system, then beside Debian's other modules
#   serve     without a network: the configuration to copy, the first requests,
#             an upgrade under load, removal, purge

export DEBIAN_FRONTEND=noninteractive

module=libnginx-mod-http-lines
doc=/usr/share/doc/$module
enabled=/etc/nginx/modules-enabled/50-mod-http-lines.conf

fail() {
    echo "$*" >&2
    exit 1
}

# what a command says is of interest when it fails
quiet() {
    "$@" > /root/said 2>&1 || { cat /root/said >&2; fail "$*"; }
}

# like TEXT PATTERN
like() {
    printf '%s\n' "$1" | grep -Eq "$2" || fail "not like $2: $1"
}

version_of() {
    dpkg-deb -f "$1" Version | sed 's/+.*//'
}

# what packages may do to services: 0 all, 101 nothing
policy() {
    printf '#!/bin/sh\nexit %s\n' "$1" > /usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}

# nothing that a package brings is started here: the ports are the machine's
install() {
    policy 101

    quiet apt-get update -qq
    quiet apt-get install -qq -y --no-install-recommends /root/before.deb

    quiet nginx -t -q
    [ -L $enabled ] || fail "$enabled is not there"
    ! dpkg-query -W 'libhiredis*' 2> /dev/null | grep . || fail 'it needs no hiredis'

    # man pages and documents are left out where dpkg is told so, and here is not
    [ -s /usr/share/man/man7/ngx_http_lines_module.7.gz ] || fail 'no manual page'
    grep -q 'lines_redis' $doc/examples/lines.conf

    modules=$(apt-cache search --names-only '^libnginx-mod-' | sed 's/ .*//' | grep -v -e '-dev$' -e "^$module\$")
    quiet apt-get install -qq -y --no-install-recommends redis-server openssl ca-certificates curl $modules
    quiet nginx -t -q
    echo "beside" $modules

    # a worker of nchan's that leaves soon after a reload may abort, at an
    # assertion of its own ("my procslot not found!")
    quiet apt-get purge -qq -y libnginx-mod-nchan
}

status() {
    curl -sSk -o /dev/null -w '%{http_code}' "$@"
}

ready() {
    curl -sS http://127.0.0.1:8081/_lines/ready
}

wait_ready() {
    tries=0
    until ready 2> /dev/null | grep -q '"ready":true'; do
        tries=$((tries + 1))
        [ $tries -lt 120 ] || { tail /var/log/nginx/error.log; fail "not ready: $(ready)"; }
        sleep 0.5
    done
}

# asks until /root/stop is there, each time on a connection of its own
load() {
    : > /root/load
    while [ ! -e /root/stop ]; do
        status https://127.0.0.1/api/lines/by-user -H "$1" >> /root/load 2>&1 || true
        echo >> /root/load
    done
}

serve() {
    policy 0

    # as lines.conf says at its head
    mkdir -m 700 /etc/lines
    token=$(openssl rand -hex 24)
    echo "someone all $token" > /etc/lines/admin.token
    echo sk_test_none > /etc/lines/stripe.key
    echo whsec_none > /etc/lines/webhook.key
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lines.example.com \
        -keyout /etc/lines/tls.key -out /etc/lines/tls.crt 2> /dev/null
    chmod 600 /etc/lines/*
    cp $doc/examples/lines.conf /etc/nginx/conf.d/lines.conf
    echo "include $doc/examples/redis.conf" >> /etc/redis/redis.conf

    quiet invoke-rc.d redis-server start
    quiet nginx -t -q
    quiet invoke-rc.d nginx start
    wait_ready
    like "$(ready)" "\"version\":\{\"lines\":\"$(version_of /root/before.deb)\""

    admin=http://127.0.0.1:8081/_lines/admin
    curl -sSf -X PUT -H "Authorization: Bearer $token" -H 'Content-Type: application/json' \
        -d '{"plan":"growth","subscription":"active"}' $admin/workspaces/one > /dev/null
    key=$(curl -sSf -X POST -H "Authorization: Bearer $token" $admin/workspaces/one/keys \
        | sed -n 's/.*"\(tuco_[^"]*\)".*/\1/p')
    bearer="Authorization: Bearer $key"

    like "$(curl -sSk https://127.0.0.1/api/line-requests -H "$bearer" -H 'Content-Type: application/json' \
        -d '{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}')" '"status":"provisioning"'

    # the upgrade: what runs afterwards is the new one, and nobody has noticed
    load "$bearer" &
    quiet dpkg -i /root/now.deb
    tries=0
    until ready | grep -q "\"lines\":\"$(version_of /root/now.deb)\""; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || fail "the version before still runs: $(ready)"
        sleep 0.5
    done
    wait_ready
    touch /root/stop
    wait $!
    [ "$(grep -c . /root/load)" -ge 10 ] || fail "too few requests: $(cat /root/load)"
    ! grep -vx 200 /root/load || fail 'requests were lost'
    echo "upgrade: $(grep -c . /root/load) requests, none lost"

    like "$(curl -sSk https://127.0.0.1/api/lines/by-user -H "$bearer")" '"firstName":"Ada"'

    # one that nginx does not take leaves the old one at work
    echo 'nonsense;' > /etc/nginx/conf.d/nonsense.conf
    quiet dpkg -i /root/now.deb
    grep -q 'goes on with the old one' /root/said || fail "$(cat /root/said)"
    wait_ready
    rm /etc/nginx/conf.d/nonsense.conf

    # its directives go first, or nginx has none of them
    rm /etc/nginx/conf.d/lines.conf
    quiet dpkg -r $module
    quiet nginx -t -q
    [ ! -L $enabled ] || fail "$enabled is still there"
    [ ! -e /usr/lib/nginx/modules/ngx_http_lines_module.so ] || fail 'the module is still there'

    quiet dpkg -i /root/now.deb
    [ -L $enabled ] || fail "$enabled is not there again"
    quiet nginx -t -q

    quiet dpkg -P $module
    quiet nginx -t -q
    left=$(find /etc/nginx /usr/lib /usr/share /var/lib/nginx -name '*http[-_]lines*')
    [ -z "$left" ] || fail "left: $left"
    [ "$(status http://127.0.0.1/)" = 200 ] || fail 'nginx does not serve'

    quiet invoke-rc.d nginx stop
    quiet invoke-rc.d redis-server stop
    ! grep -E '\[(emerg|alert|crit)\]|exited on signal' /var/log/nginx/error.log | grep -v nonsense || fail 'said in the log'

    echo 'install, first requests, upgrade, remove, purge: as they should be'
}

"$1"
