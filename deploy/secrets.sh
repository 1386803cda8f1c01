#!/bin/sh
# Makes what RabbitMQ and the nodes need to trust each other, in three folders below FOLDER:
#   authority/  the key of an authority of your own, which signs the broker's certificate
#   broker/     ca.crt tls.crt tls.key users.json
#   nodes/      ca.crt broker_url password mesh.key
#
#   secrets.sh FOLDER HOST...     HOST is where the nodes find the broker; others are in its certificate
#
# What is there already stays as it is. BROKER_OWNER and NODES_OWNER (user:group) get their folders.
set -eu
umask 077
folder=${1:?which folder? secrets.sh FOLDER HOST...}
host=${2:?which host? secrets.sh FOLDER HOST...}
shift

mkdir -p "$folder/authority" "$folder/broker" "$folder/nodes"
cd "$folder"

if [ ! -e authority/ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=Authority of the mesh" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout authority/new.key -out authority/ca.crt
    mv authority/new.key authority/ca.key
fi

if [ ! -e broker/tls.crt ]; then
    names=
    for name in "$@"; do
        case $name in
            *[!0-9.]*) names="$names,DNS:$name" ;;
            *) names="$names,IP:$name" ;;
        esac
    done
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" \
        -keyout broker/tls.key -out authority/broker.csr
    {
        echo basicConstraints=critical,CA:FALSE
        echo keyUsage=critical,digitalSignature
        echo extendedKeyUsage=serverAuth
        echo subjectKeyIdentifier=hash
        echo authorityKeyIdentifier=keyid
        echo "subjectAltName=${names#,}"
    } >authority/broker.ext
    openssl x509 -req -in authority/broker.csr -CA authority/ca.crt -CAkey authority/ca.key \
        -CAcreateserial -days 825 -sha256 -extfile authority/broker.ext -out broker/new.crt
    mv broker/new.crt broker/tls.crt
fi

if [ ! -e nodes/mesh.key ]; then
    openssl rand -base64 32 | tr '+/' '-_' >nodes/new.key
    mv nodes/new.key nodes/mesh.key
fi

if [ ! -e nodes/broker_url ]; then
    openssl rand -hex 24 | tr -d '\n' >nodes/password
    # As RabbitMQ keeps a password: four random bytes, and the SHA-256 of them and the password.
    openssl rand 4 >authority/salt
    hash=$({
        cat authority/salt
        cat authority/salt nodes/password | openssl dgst -sha256 -binary
    } | openssl base64 -A)
    rm authority/salt
    cat >broker/users.json <<END
{
  "users": [
    {
      "name": "mesh",
      "password_hash": "$hash",
      "hashing_algorithm": "rabbit_password_hashing_sha256",
      "tags": []
    }
  ],
  "permissions": [
    {
      "user": "mesh",
      "vhost": "mesh",
      "configure": "^miros_mesh\\\\.",
      "write": "^miros_mesh\\\\.",
      "read": "^miros_mesh\\\\."
    }
  ]
}
END
    printf 'amqps://mesh:%s@%s:5671/mesh' "$(cat nodes/password)" "$host" >nodes/new_url
    mv nodes/new_url nodes/broker_url
fi

cp authority/ca.crt broker/ca.crt
cp authority/ca.crt nodes/ca.crt
if [ -n "${BROKER_OWNER:-}" ]; then chown -R "$BROKER_OWNER" broker; fi
if [ -n "${NODES_OWNER:-}" ]; then chown -R "$NODES_OWNER" nodes; fi
