# What bare.sh does in the root for the step "demo", with the README's own
# commands in /root/readme.sh.

cd /root/lines

fail() {
    echo "$*" >&2
    exit 1
}

# like TEXT PATTERN
like() {
    printf '%s\n' "$1" | grep -Eq "$2" || fail "not like $2: $1"
}

# the lines that the README has there for pasting
bash -eu /root/readme.sh > /root/readme.out || { cat /root/readme.out; fail "the README's commands"; }
first=$(tail -n 1 /root/readme.out)
like "$first" '^\{"success":true,"status":"provisioning",'

. build/run/env

api() {
    curl -sS -H "Authorization: Bearer $LINES_API_KEY" -H 'Content-Type: application/json' "$@"
}

line='{"firstName":"Ada","lastName":"Lovelace","channelType":"phone"}'

like "$(api "$LINES_URL/api/line-requests" -d "$line")" '"status":"provisioning"'
third=$(api "$LINES_URL/api/line-requests" -d "$line")
like "$third" '"status":"awaiting_payment"'

id=$(printf '%s' "$third" | sed -n 's/.*"_id":"\([0-9a-f]*\)".*/\1/p')
page=$(printf '%s' "$third" | sed -n 's/.*"paymentUrl":"\([^"]*\)".*/\1/p')
[ -n "$page" ] || fail "no paymentUrl: $third"

curl -sSf "$page" > /root/page.html || fail "the payment page: $page"
curl -sSf -d "" "$page/pay" > /dev/null || fail "paying: $page"

tries=0
until api "$LINES_URL/api/line-requests/$id" | grep -q '"provisioningStatus":"active"'; do
    tries=$((tries + 1))
    [ $tries -lt 240 ] || fail "the paid line: $(api "$LINES_URL/api/line-requests/$id")"
    sleep 0.5
done

like "$(api "$LINES_URL/api/lines/by-user")" "$id"
like "$(curl -sS "$LINES_URL/api/lines/by-user")" '"error"'

make down
curl -s "$LINES_URL/api/lines/by-user" && fail 'it runs after make down'

# what it had, it has again
make run > /root/run.out 2>&1 &
run=$!

tries=0
until grep -q 'Ctrl-C stops it' /root/run.out 2> /dev/null; do
    kill -0 $run 2> /dev/null || { cat /root/run.out; fail 'make run'; }
    tries=$((tries + 1))
    [ $tries -lt 240 ] || { cat /root/run.out; fail 'make run does not come up'; }
    sleep 0.5
done

like "$(api "$LINES_URL/api/lines/by-user")" "$id"

read -r pid rest < build/run/pid
kill -INT "$pid"
wait $run || { cat /root/run.out; fail 'make run does not end well'; }
curl -s "$LINES_URL/api/lines/by-user" && fail 'it runs after an interrupt'

echo "make up, the README's requests, make down, make run: as it says"
