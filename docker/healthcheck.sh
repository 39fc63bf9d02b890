#!/bin/bash
# lines-healthcheck [PORT [PATH]]: 0 where the answer is 200.  The default is
# the operator's server of conf/lines.conf.

exec 3<> "/dev/tcp/127.0.0.1/${1:-8081}" || exit 1

printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "${2:-/_lines/ready}" >&3
IFS= read -r status <&3

echo "${status%$'\r'}"
[[ $status == HTTP/1.?' 200 '* ]]
