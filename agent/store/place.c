/* Folders that other rooms keep in the store (git mirrors, actions, tools): known to the index so that they
 * have a size, a last use and an end. */
#include <unistd.h>

#include "store/internal.h"

static bool name_ok(const char *name)
{
    wh_autostrv char **parts = wh_strv_split(name, '/');
    for (char **p = parts; p && *p; p++)
        if (**p == '\0' || strcmp(*p, ".") == 0 || strcmp(*p, "..") == 0)
            return false;
    return parts && parts[0];
}

char *wh_store_place(struct wh_store *s, const char *room, const char *rest, struct wh_error *err)
{
    wh_autofree char *name = wh_printf("%s/%s", room, rest);
    if (!name_ok(name)) {
        wh_fail(err, WH_E_ARGUMENT, "%s is no name for a folder of the store", name);
        return NULL;
    }
    wh_autostorelock(s);
    for (char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = store_mkdir(s, s->dirfd, name, 0700, err);
        *slash = '/';
        if (rc < 0)
            return NULL;
    }
    struct wh_digest hash;
    wh_digest_of(name, strlen(name), &hash);
    if (store_run(s, err,
                  "INSERT INTO folders(name, hash, size, repo, created, used) VALUES(?1, ?2, -1, ?3, ?4, ?4)"
                  " ON CONFLICT(name) DO UPDATE SET used = ?4, size = -1",
                  "tdti", name, &hash, s->charge, wh_now_ns()) < 0)
        return NULL;
    struct store_key key = store_key_digest(WH_STORE_FOLDER, &hash);
    if (store_lease(s, &key, err) < 0)
        return NULL;
    return wh_path_join(s->dir, name);
}

int store_folder_drop(struct wh_store *s, const char *name, struct wh_error *err)
{
    struct wh_digest hash;
    wh_digest_of(name, strlen(name), &hash);
    struct store_key key = store_key_digest(WH_STORE_FOLDER, &hash);
    if (store_begin(s, true, err) < 0)
        return -1;
    int rc = store_leased(s, &key, false, err);
    if (rc == 0)
        rc = store_run(s, err, "DELETE FROM folders WHERE name = ?", "t", name) < 0 ? -1 : 1;
    else if (rc == 1)
        rc = 0;
    /* Within the transaction: a place that is taken anew afterwards is a new folder. */
    if (rc == 1 && store_discard_at(s, s->dirfd, name, err) < 0)
        rc = -1;
    return store_end(s, rc, err);
}
