/* The index's tables, format WH_STORE_FORMAT. docs/store.md explains them to people; keep both in step. */
#include "store/internal.h"

/* boot: set while the bytes were not yet made durable by syncfs(); such a row of another boot is dropped at
 * open. used: ns of the last use; size, files: -1 until counted; repo: whom prune charges. Digests are 32 raw
 * bytes. */
static const char schema[] =
    "CREATE TABLE blobs(digest BLOB PRIMARY KEY, size INTEGER NOT NULL, boot TEXT, repo TEXT NOT NULL,"
    "  created INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX blobs_boot ON blobs(boot) WHERE boot IS NOT NULL;"

    "CREATE TABLE layers(id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT, diffid BLOB, chainid BLOB,"
    "  size INTEGER NOT NULL, files INTEGER NOT NULL, repo TEXT NOT NULL, created INTEGER NOT NULL, used "
    "INTEGER NOT NULL);"
    "CREATE INDEX layers_boot ON layers(boot) WHERE boot IS NOT NULL;"
    "CREATE INDEX layers_diffid ON layers(diffid) WHERE diffid IS NOT NULL;"
    "CREATE INDEX layers_chainid ON layers(chainid) WHERE chainid IS NOT NULL;"

    /* pulled: came from a registry, and is what an unchanged base is pushed as. */
    "CREATE TABLE layer_blobs(diffid BLOB NOT NULL, digest BLOB NOT NULL, format TEXT NOT NULL, level "
    "INTEGER NOT NULL,"
    "  PRIMARY KEY(diffid, digest)) WITHOUT ROWID;"
    "CREATE INDEX layer_blobs_digest ON layer_blobs(digest);"

    "CREATE TABLE records(id INTEGER PRIMARY KEY, scope TEXT NOT NULL, key BLOB NOT NULL, layer INTEGER, "
    "empty INTEGER NOT NULL,"
    "  diffid BLOB, slot TEXT, meta TEXT, created INTEGER NOT NULL, used INTEGER NOT NULL, UNIQUE(scope, "
    "key));"
    "CREATE INDEX records_slot ON records(slot, scope, created) WHERE slot IS NOT NULL;"
    "CREATE INDEX records_layer ON records(layer) WHERE layer IS NOT NULL;"

    "CREATE TABLE files(scope INTEGER NOT NULL, dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT "
    "NULL,"
    "  mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, digest BLOB NOT NULL, used INTEGER NOT NULL,"
    "  PRIMARY KEY(scope, dev, ino)) WITHOUT ROWID;"

    "CREATE TABLE segments(key BLOB PRIMARY KEY, blob BLOB NOT NULL, offset INTEGER NOT NULL, length INTEGER "
    "NOT NULL,"
    "  raw INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX segments_blob ON segments(blob);"

    "CREATE TABLE images(name TEXT NOT NULL, visible TEXT NOT NULL, manifest BLOB NOT NULL, media_type TEXT,"
    "  seen INTEGER NOT NULL, PRIMARY KEY(name, visible)) WITHOUT ROWID;"
    "CREATE TABLE blob_places(digest BLOB NOT NULL, registry TEXT NOT NULL, repository TEXT NOT NULL, seen "
    "INTEGER NOT NULL,"
    "  PRIMARY KEY(digest, registry, repository)) WITHOUT ROWID;"

    "CREATE TABLE mounts(id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, name TEXT NOT NULL, "
    "instance INTEGER NOT NULL,"
    "  size INTEGER NOT NULL, repo TEXT NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL,"
    "  UNIQUE(scope, name, instance));"
    "CREATE TABLE folders(name TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, repo TEXT "
    "NOT NULL,"
    "  created INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;"

    /* object: a blob's digest, a layer's or a mount's number, a folder's hash. */
    "CREATE TABLE leases(session TEXT NOT NULL, kind INTEGER NOT NULL, object BLOB NOT NULL,"
    "  PRIMARY KEY(kind, object, session)) WITHOUT ROWID;"
    "CREATE INDEX leases_session ON leases(session);";

/* Format 2: digests of a layer's files, which go with the layer's row, whoever removes it; segments have a
 * check of their compressed bytes. */
static const char schema2[] =
    "DELETE FROM segments; ALTER TABLE segments ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;"
    "CREATE TABLE layer_files(layer INTEGER PRIMARY KEY, list BLOB NOT NULL);"
    "CREATE TRIGGER layer_files_gone AFTER DELETE ON layers BEGIN DELETE FROM layer_files WHERE layer = "
    "OLD.id; END;";

int store_schema_create(struct wh_store *s, int from, struct wh_error *err)
{
    if (store_begin(s, true, err) < 0)
        return -1;
    int rc = 0;
    if (from < 1 && sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
        rc = store_db_fail(s, err, "creating its tables");
    if (rc == 0 && from < 2 && sqlite3_exec(s->db, schema2, NULL, NULL, NULL) != SQLITE_OK)
        rc = store_db_fail(s, err, "creating its tables");
    wh_autofree char *version = wh_printf("PRAGMA user_version = %d", WH_STORE_FORMAT);
    if (rc == 0 && sqlite3_exec(s->db, version, NULL, NULL, NULL) != SQLITE_OK)
        rc = store_db_fail(s, err, "writing its format number");
    return store_end(s, rc, err);
}
