#!/bin/sh
# What the official image's entry point does of it: a first start makes the database, its users and their passwords.
set -eu
case "${1:-}" in
    -*) set -- mysqld "$@" ;;
esac
if [ "${1:-}" != mysqld ] && [ "${1:-}" != mariadbd ]; then
    exec "$@"
fi

mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld /var/lib/mysql
if [ ! -e /var/lib/mysql/.prepared ]; then
    if [ -z "${MYSQL_ROOT_PASSWORD:-}${MYSQL_ALLOW_EMPTY_PASSWORD:-}${MYSQL_RANDOM_ROOT_PASSWORD:-}" ]; then
        echo >&2 "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified"
        echo >&2 "    You need to specify one of the following as an environment variable:"
        echo >&2 "    - MYSQL_ROOT_PASSWORD"
        echo >&2 "    - MYSQL_ALLOW_EMPTY_PASSWORD"
        echo >&2 "    - MYSQL_RANDOM_ROOT_PASSWORD"
        exit 1
    fi
    if [ -n "${MYSQL_RANDOM_ROOT_PASSWORD:-}" ]; then
        MYSQL_ROOT_PASSWORD=$(head -c 24 /dev/urandom | base64)
        echo "[Note] [Entrypoint]: GENERATED ROOT PASSWORD: $MYSQL_ROOT_PASSWORD"
    fi
    quoted() { printf %s "$1" | sed "s/[\\\\']/\\\\&/g"; }
    password=$(quoted "${MYSQL_ROOT_PASSWORD:-}")
    [ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql --datadir=/var/lib/mysql > /dev/null
    # One statement a line, as --bootstrap reads. A start that was cut short says them again.
    {
        echo "FLUSH PRIVILEGES;"
        echo "CREATE OR REPLACE USER root@localhost IDENTIFIED BY '$password';"
        echo "CREATE OR REPLACE USER root@'%' IDENTIFIED BY '$password';"
        echo "GRANT ALL ON *.* TO root@localhost WITH GRANT OPTION;"
        echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
        [ -z "${MYSQL_DATABASE:-}" ] || echo "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
        if [ -n "${MYSQL_USER:-}" ] && [ -n "${MYSQL_PASSWORD:-}" ]; then
            user=$(quoted "$MYSQL_USER")
            echo "CREATE OR REPLACE USER '$user'@'%' IDENTIFIED BY '$(quoted "$MYSQL_PASSWORD")';"
            [ -z "${MYSQL_DATABASE:-}" ] || echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$user'@'%';"
        fi
    } | mariadbd --user=mysql --bootstrap
    touch /var/lib/mysql/.prepared
fi
exec "$@" --user=mysql --bind-address=0.0.0.0
