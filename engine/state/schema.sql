-- Every table of the engine's state. Documents are JSON, written by msgspec in the room that owns the table.
-- Raise PRAGMA user_version in database.py when a change can't be read by older code.

CREATE TABLE IF NOT EXISTS containers (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    doc  BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS networks (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    doc  BLOB NOT NULL
) WITHOUT ROWID;

-- An address in use: `owner` is a container's id, or "gateway".
CREATE TABLE IF NOT EXISTS leases (
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    owner   TEXT NOT NULL,
    PRIMARY KEY (network, address)
) WITHOUT ROWID;

-- A container's connection to a network, while it runs.
CREATE TABLE IF NOT EXISTS endpoints (
    container TEXT NOT NULL,
    network   TEXT NOT NULL,
    doc       BLOB NOT NULL,
    PRIMARY KEY (container, network)
);

-- Rows of networks and endpoints whose documents can't be read: of a network its id and name, of an endpoint its
-- container's id and the network's name.
CREATE TABLE IF NOT EXISTS damaged (
    kind TEXT NOT NULL,
    key  TEXT NOT NULL,
    name TEXT NOT NULL,
    doc  BLOB NOT NULL,
    PRIMARY KEY (kind, key, name)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS volumes (
    name TEXT PRIMARY KEY,
    doc  BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS build_cache (
    key     TEXT PRIMARY KEY,
    value   BLOB NOT NULL,
    used_at REAL NOT NULL
) WITHOUT ROWID;
