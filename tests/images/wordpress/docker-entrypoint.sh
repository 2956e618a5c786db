#!/bin/sh
# As the official image's: an empty /var/www/html gets WordPress, whose configuration reads WORDPRESS_DB_*.
set -eu
if [ "${1:-}" = apache2-foreground ] && [ ! -e index.php ]; then
    echo >&2 "WordPress not found in $PWD - copying now..."
    cp -a /usr/src/wordpress/. .
    echo >&2 "Complete! WordPress has been successfully copied to $PWD"
fi
exec "$@"
