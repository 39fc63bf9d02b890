#!/bin/sh
# secrets.sh DIR: the demo's secrets, made where they are not there yet.

set -eu
umask 077
cd "${1:?usage: secrets.sh DIR}"

random() {
    openssl rand -hex 24
}

# all of a file or nothing: what is half written would stay
put() {
    cat > "$1.new"
    if [ -s "$1" ]; then rm "$1.new"; else mv "$1.new" "$1"; fi
}

random | put admin.token
random | put redis.key
printf 'requirepass %s\nmasterauth %s\n' "$(cat redis.key)" "$(cat redis.key)" | put redis.conf
echo "sk_test_$(random)" | put stripe.key
echo "whsec_$(random)" | put webhook.key
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 2> /dev/null | put clerk.pem

# the certificate of what plays Stripe and Clerk, which the nodes trust
[ -s tls.crt ] || {
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=lines-demo \
        -addext subjectAltName=DNS:sandbox,DNS:players -keyout tls.key -out tls.crt.new 2> /dev/null
    mv tls.crt.new tls.crt
}

echo 'the secrets are there'
