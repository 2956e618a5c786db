<?php
/* The official image's configuration: everything from the environment, with its defaults; WORDPRESS_DB_HOST is the
 * alias under which tutorials link the database. */
function from_environment($name, $default) {
    $value = getenv($name);
    return $value === false || $value === '' ? $default : $value;
}

define('DB_HOST', from_environment('WORDPRESS_DB_HOST', 'mysql'));
define('DB_USER', from_environment('WORDPRESS_DB_USER', 'root'));
define('DB_PASSWORD', from_environment('WORDPRESS_DB_PASSWORD', ''));
define('DB_NAME', from_environment('WORDPRESS_DB_NAME', 'wordpress'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = from_environment('WORDPRESS_TABLE_PREFIX', 'wp_');

foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $what) {
    foreach (['KEY', 'SALT'] as $kind) {
        define("{$what}_{$kind}", from_environment("WORDPRESS_{$what}_{$kind}", sha1("$what $kind " . DB_PASSWORD)));
    }
}
define('WP_DEBUG', (bool) from_environment('WORDPRESS_DEBUG', ''));
/* Unlike the official one: asks nobody outside, where a test has nobody to ask. */
define('WP_HTTP_BLOCK_EXTERNAL', true);

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
