/* wherry cache du|list|verify|prune: what is in the store, is it whole, make room. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/option.h"
#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/base/json.h"
#include "wherry/platform/userns.h"
#include "wherry/store/gc.h"

struct options {
    const char *state;
    bool json;
    struct wh_prune prune;
    bool prune_limits; /* at least one of them was given */
};

struct verb {
    const char *name;
    int (*run)(struct wh_store *s, const struct options *o, struct wh_error *err);
    const char *help;
};

static const char *const kinds[] = {[WH_STORE_BLOB] = "blob",
                                    [WH_STORE_LAYER] = "layer",
                                    [WH_STORE_MOUNT] = "mount",
                                    [WH_STORE_FOLDER] = "folder"};

/* ---- du ---- */

static void row(const char *name, uint64_t n, uint64_t bytes)
{
    wh_autofree char *size = wh_format_size(bytes);
    printf("%-14s %8llu  %10s\n", name, (unsigned long long)n, size);
}

static int du_json(const struct wh_store *s, const struct wh_store_usage *u)
{
    wh_autojson *j = cJSON_CreateObject();
    wh_json_add_string(j, "state", wh_store_dir(s));
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"blobs", u->blobs},
        {"blobBytes", u->blob_bytes},
        {"layers", u->layers},
        {"layerBytes", u->layer_bytes},
        {"mounts", u->mounts},
        {"mountBytes", u->mount_bytes},
        {"folders", u->folders},
        {"folderBytes", u->folder_bytes},
        {"records", u->records},
        {"files", u->files},
        {"segments", u->segments},
        {"indexBytes", u->index_bytes},
        {"ingestBytes", u->ingest_bytes},
        {"leasedBytes", u->leased_bytes},
        {"diskFree", u->disk_free},
        {"diskTotal", u->disk_total},
    };
    for (size_t i = 0; i < WH_COUNT(fields); i++)
        wh_json_add_int(j, fields[i].name, (int64_t)fields[i].value);
    wh_autofree char *text = wh_json_print_indented(j);
    puts(text);
    return 0;
}

static int du(struct wh_store *s, const struct options *o, struct wh_error *err)
{
    struct wh_store_usage u;
    if (wh_store_du(s, &u, err) < 0)
        return -1;
    if (o->json)
        return du_json(s, &u);
    printf("%s\n%-14s %8s  %10s\n", wh_store_dir(s), "WHAT", "NUMBER", "SIZE");
    row("blobs", u.blobs, u.blob_bytes);
    row("layers", u.layers, u.layer_bytes);
    row("cache mounts", u.mounts, u.mount_bytes);
    row("git, actions", u.folders, u.folder_bytes);
    row("index", u.records + u.files + u.segments, u.index_bytes);
    wh_autofree char *all = wh_format_size(u.blob_bytes + u.layer_bytes + u.mount_bytes + u.folder_bytes +
                                           u.index_bytes + u.ingest_bytes);
    wh_autofree char *ingest = wh_format_size(u.ingest_bytes);
    wh_autofree char *leased = wh_format_size(u.leased_bytes);
    wh_autofree char *left = wh_format_size(u.disk_free);
    wh_autofree char *total = wh_format_size(u.disk_total);
    printf("\n%s in all; %s in use by running builds; %s being written; %s of %s free on the disk\n", all,
           leased, ingest, left, total);
    return 0;
}

/* ---- list ---- */

struct listing {
    cJSON *json; /* NULL: print lines */
    int64_t now;
};

static int list_one(void *arg, const struct wh_store_item *item)
{
    struct listing *l = arg;
    char when[40];
    if (l->json) {
        cJSON *j = cJSON_CreateObject();
        cJSON_AddItemToArray(l->json, j);
        wh_json_add_string(j, "kind", kinds[item->kind]);
        wh_json_add_string(j, "name", item->name);
        wh_json_add_string(j, "detail", item->detail);
        wh_json_add_string(j, "repository", item->repository);
        wh_json_add_int(j, "size", (int64_t)item->size);
        wh_json_add_string(j, "created", wh_time_iso(item->created, 3, when));
        wh_json_add_string(j, "used", wh_time_iso(item->used, 3, when));
        cJSON_AddBoolToObject(j, "leased", item->leased);
        return 0;
    }
    wh_autofree char *size = wh_format_size(item->size);
    char ago[32];
    wh_duration_text(l->now > item->used ? (uint64_t)(l->now - item->used) : 0, ago);
    printf("%-7s %10s  %9s ago  %-6s %-24s %s%s%s\n", kinds[item->kind], size, ago,
           item->leased ? "in use" : "", item->repository[0] ? item->repository : "-", item->name,
           item->detail[0] ? "  " : "", item->detail);
    return 0;
}

static int list(struct wh_store *s, const struct options *o, struct wh_error *err)
{
    wh_autojson *array = o->json ? cJSON_CreateArray() : NULL;
    struct listing l = {array, wh_now_ns()};
    if (!o->json)
        printf("%-7s %10s  %13s  %-6s %-24s %s\n", "KIND", "SIZE", "USED", "", "REPOSITORY", "NAME");
    if (wh_store_list(s, list_one, &l, err) < 0)
        return -1;
    if (o->json) {
        wh_autofree char *text = wh_json_print_indented(array);
        puts(text);
    }
    return 0;
}

/* ---- verify ---- */

struct watching {
    bool terminal, shown;
    uint64_t last; /* ms */
};

static void clear_line(struct watching *w)
{
    if (w->shown)
        fputs("\r\033[K", stderr);
    w->shown = false;
}

static void verify_progress(void *arg, const struct wh_verify_progress *p)
{
    struct watching *w = arg;
    if (p->bad) {
        clear_line(w);
        fprintf(stderr, "damaged: %s\n", p->bad);
        return;
    }
    uint64_t now = wh_mono_ms();
    if (!w->terminal || now - w->last < 100)
        return;
    w->last = now;
    w->shown = true;
    wh_autofree char *done = wh_format_size(p->done);
    wh_autofree char *total = wh_format_size(p->total);
    fprintf(stderr, "\r\033[Kchecking: %s of %s (%llu %%)", done, total,
            (unsigned long long)(p->total ? p->done * 100 / p->total : 100));
}

static int verify(struct wh_store *s, const struct options *o, struct wh_error *err)
{
    struct watching w = {.terminal = isatty(STDERR_FILENO) == 1};
    struct wh_verify_result r;
    int rc = wh_store_verify(s, verify_progress, &w, &r, err);
    clear_line(&w);
    if (rc < 0)
        return -1;
    if (o->json) {
        wh_autojson *j = cJSON_CreateObject();
        wh_json_add_int(j, "blobs", (int64_t)r.blobs);
        wh_json_add_int(j, "layers", (int64_t)r.layers);
        wh_json_add_int(j, "bytes", (int64_t)r.bytes);
        wh_json_add_int(j, "damaged", (int64_t)r.damaged);
        wh_json_add_int(j, "orphans", (int64_t)r.orphans);
        wh_autofree char *text = wh_json_print_indented(j);
        puts(text);
    } else {
        wh_autofree char *size = wh_format_size(r.bytes);
        printf("%llu blobs and %llu layers, %s: ", (unsigned long long)r.blobs, (unsigned long long)r.layers,
               size);
        if (r.damaged)
            printf("%llu damaged; they were moved to %s/quarantine and the next build makes them anew\n",
                   (unsigned long long)r.damaged, wh_store_dir(s));
        else
            puts("all as they should be");
        if (r.orphans)
            printf("%llu left-overs that nothing named were removed\n", (unsigned long long)r.orphans);
    }
    return r.damaged ? 1 : 0;
}

/* ---- prune ---- */

static int prune_one(void *arg, const struct wh_store_item *item)
{
    const struct options *o = arg;
    if (o->json)
        return 0;
    wh_autofree char *size = wh_format_size(item->size);
    printf("%s %-7s %10s  %s\n", o->prune.dry_run ? "would remove" : "removed", kinds[item->kind], size,
           item->name);
    return 0;
}

static int prune(struct wh_store *s, const struct options *o, struct wh_error *err)
{
    if (!o->prune_limits)
        return wh_fail(err, WH_E_ARGUMENT, "say what may go: --max-size, --min-free, --max-age or --all");
    struct wh_prune how = o->prune;
    how.progress = prune_one;
    how.arg = (void *)o;
    struct wh_prune_result r;
    if (wh_store_prune(s, &how, &r, err) < 0)
        return -1;
    if (o->json) {
        wh_autojson *j = cJSON_CreateObject();
        wh_json_add_int(j, "items", (int64_t)r.items);
        wh_json_add_int(j, "bytes", (int64_t)r.bytes);
        wh_json_add_int(j, "orphans", (int64_t)r.orphans);
        wh_json_add_int(j, "left", (int64_t)r.left);
        cJSON_AddBoolToObject(j, "dryRun", how.dry_run);
        wh_autofree char *text = wh_json_print_indented(j);
        puts(text);
        return 0;
    }
    wh_autofree char *gone = wh_format_size(r.bytes);
    wh_autofree char *left = wh_format_size(r.left);
    printf("%llu items with %s %s; %s stay\n", (unsigned long long)r.items, gone,
           how.dry_run ? "would be removed" : "were removed", left);
    return 0;
}

/* ---- the command line ---- */

static const struct verb verbs[] = {
    {"du", du, "how much disk each kind of thing takes"},
    {"list", list, "every blob, layer, cache mount and mirror, least recently used first"},
    {"verify", verify, "hash every blob and compare every layer with the index; damaged ones are moved away"},
    {"prune", prune, "remove what was not used for longest; nothing that a running build uses"},
};

static void usage(FILE *out)
{
    fputs("usage: wherry cache VERB [OPTION...]\n\nLooks after the store of layers.\n\n", out);
    for (size_t i = 0; i < WH_COUNT(verbs); i++)
        fprintf(out, "  %-8s%s\n", verbs[i].name, verbs[i].help);
    fputs("\n"
          "  --state DIR       the state folder (WHERRY_STATE; else /var/lib/wherry for root, "
          "~/.local/state/wherry)\n"
          "  --json            for programs\n"
          "prune:\n"
          "  --max-size SIZE   keep at most so much (512m, 80g); repositories over their fair share give "
          "first\n"
          "  --min-free SIZE   leave at least so much of the disk free\n"
          "  --max-age TIME    remove what was not used for so long (12h, 30d)\n"
          "  --all             remove everything that no running build uses\n"
          "  --dry-run         only say what would go\n\n"
          "Examples\n"
          "  wherry cache du\n"
          "  wherry cache prune --max-size 80g --max-age 30d --dry-run\n\n"
          "Exit code: 0 done, 1 failed or (verify) damage was found, 2 bad usage.\n",
          out);
}

/* "90s", "15m", "12h", "30d". */
static bool parse_age(const char *text, int64_t *ns)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    size_t len = strlen(text);
    for (size_t i = 0; i < WH_COUNT(units) && len > 1; i++) {
        if (text[len - 1] != units[i].unit)
            continue;
        wh_autofree char *digits = wh_strndup(text, len - 1);
        uint64_t n;
        if (!wh_parse_u64(digits, 1000000, &n))
            return false;
        *ns = (int64_t)n * units[i].seconds * 1000000000;
        return true;
    }
    return false;
}

static int bad_value(const char *option, const char *value, const char *like)
{
    fprintf(stderr, "wherry cache: %s %s: that is not %s\n", option, value, like);
    return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"state", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"all", no_argument, NULL, 'a'},
        {"dry-run", no_argument, NULL, 'n'},
        {"max-size", required_argument, NULL, 'm'},
        {"min-free", required_argument, NULL, 'f'},
        {"max-age", required_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = wh_cmd_option(argc, argv, "h", longs)) != -1;) {
        o->prune_limits |= strchr("amfg", c) != NULL;
        if (c == 's')
            o->state = optarg;
        else if (c == 'j')
            o->json = true;
        else if (c == 'a')
            o->prune.all = true;
        else if (c == 'n')
            o->prune.dry_run = true;
        else if (c == 'm' && !wh_parse_size(optarg, &o->prune.max_bytes))
            return bad_value("--max-size", optarg, "a size such as 512m or 80g");
        else if (c == 'f' && !wh_parse_size(optarg, &o->prune.min_free))
            return bad_value("--min-free", optarg, "a size such as 512m or 80g");
        else if (c == 'g' && !parse_age(optarg, &o->prune.max_age))
            return bad_value("--max-age", optarg, "a time such as 12h or 30d");
        else if (c == 'h')
            return -1;
        else if (c == '?')
            return 2;
    }
    return 0;
}

static int run(const struct verb *verb, const struct options *o)
{
    wh_autoerror err = {0};
    wh_autofree char *dir = wh_state_dir(o->state);
    /* A user's layers hold files of the user's sub-ids: become their root, where that can be. */
    (void)wh_userns_enter(NULL);
    int rc = -1;
    struct wh_store *s =
        wh_store_open(&(struct wh_store_options){.dir = dir, .must_exist = true, .foreground = true}, &err);
    if (s)
        rc = verb->run(s, o, &err);
    wh_store_close(s);
    if (rc < 0) {
        fprintf(stderr, "wherry cache %s: %s\n", verb->name, wh_error_text(&err));
        return err.code == WH_E_ARGUMENT ? 2 : 1;
    }
    return rc;
}

int wh_cmd_cache(int argc, char **argv)
{
    struct options o = {0};
    int rc = parse(argc, argv, &o);
    if (rc == -1) {
        usage(stdout);
        return 0;
    }
    if (rc == 0 && optind + 1 != argc) {
        usage(stderr);
        return 2;
    }
    for (size_t i = 0; rc == 0 && i < WH_COUNT(verbs); i++)
        if (strcmp(argv[optind], verbs[i].name) == 0)
            return run(&verbs[i], &o);
    if (rc == 0) {
        const char *names[WH_COUNT(verbs) + 1] = {NULL};
        for (size_t i = 0; i < WH_COUNT(verbs); i++)
            names[i] = verbs[i].name;
        const char *near = wh_did_you_mean(argv[optind], names);
        fprintf(stderr, "wherry cache: there is no `%s`%s%s%s; `wherry cache --help` lists what there is\n",
                argv[optind], near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
    }
    return 2;
}
