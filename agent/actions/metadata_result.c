/* Tags and labels from versions, as lists and as JSON. */
#include <ctype.h>
#include <stdlib.h>

#include "actions/metadata.h"
#include "actions/moment.h"

/* ---- tags ---- */

char **metadata_image_names(const struct metadata *m)
{
    char **names = NULL;
    for (size_t i = 0; i < m->in.nimages; i++) {
        if (!m->in.images[i].enable)
            continue;
        char *name = wh_strdup(m->in.images[i].name);
        wh_ascii_lower(name);
        wh_strv_take(&names, name);
    }
    return names;
}

static void add_tags(const struct metadata *m, const char *image, char ***tags)
{
    const char *colon = image[0] ? ":" : "";
    wh_strv_take(tags, wh_printf("%s%s%s", image, colon, m->main));
    for (char **p = m->partial; p && *p; p++)
        wh_strv_take(tags, wh_printf("%s%s%s", image, colon, *p));
    if (m->latest <= 0)
        return;
    const struct metadata_flavor *f = &m->in.flavor;
    wh_autofree char *latest =
        wh_printf("%slatest%s", f->prefix_latest ? f->prefix : "", f->suffix_latest ? f->suffix : "");
    wh_autofree char *clean = metadata_sanitize(latest);
    wh_strv_take(tags, wh_printf("%s%s%s", image, colon, clean));
}

char **metadata_tags(const struct metadata *m, bool names_only)
{
    char **tags = NULL;
    if (!m->main)
        return NULL;
    wh_autostrv char **images = names_only ? NULL : metadata_image_names(m);
    if (!images)
        add_tags(m, "", &tags);
    for (char **i = images; i && *i; i++)
        add_tags(m, *i, &tags);
    return tags;
}

/* ---- labels ---- */

/* The order of the root collation for ASCII: punctuation, digits, letters in any case, lower case first among
 * equals. Other bytes come after. */
static int rank(unsigned char c)
{
    static const char order[] = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";
    const char *at = c ? strchr(order, tolower(c)) : NULL;
    return at ? (int)(at - order) + 1 : c ? 256 + c : 0;
}

static int compare_keys(const char *a, size_t alen, const char *b, size_t blen)
{
    size_t i = 0;
    for (; i < alen && i < blen; i++) {
        int difference = rank((unsigned char)a[i]) - rank((unsigned char)b[i]);
        if (difference != 0)
            return difference;
    }
    if (alen != blen)
        return alen < blen ? -1 : 1;
    for (i = 0; i < alen; i++) /* lower case before upper */
        if (a[i] != b[i])
            return islower((unsigned char)a[i]) ? -1 : 1;
    return 0;
}

static size_t key_len(const char *label)
{
    return strcspn(label, "=");
}

/* A later label with the same key takes the place of the earlier one. */
static void put(char ***labels, const char *label)
{
    size_t len = key_len(label);
    if (label[len] != '=')
        return;
    for (char **l = *labels; l && *l; l++) {
        if (key_len(*l) == len && memcmp(*l, label, len) == 0) {
            free(*l);
            *l = wh_strdup(label);
            return;
        }
    }
    wh_strv_add(labels, label);
}

static void sort_labels(char **labels)
{
    for (size_t i = 1; labels && labels[0] && labels[i]; i++) {
        char *label = labels[i];
        size_t at = i;
        for (; at > 0 && compare_keys(labels[at - 1], key_len(labels[at - 1]), label, key_len(label)) > 0;
             at--)
            labels[at] = labels[at - 1];
        labels[at] = label;
    }
}

char **metadata_labels(struct metadata *m, char *const *custom, struct wh_error *err)
{
    const struct metadata_context *c = &m->context;
    wh_autofree char *created = wh_moment_iso(m->now);
    const char *const standard[][2] = {
        {"title", c->name},
        {"description", c->description},
        {"url", c->html_url},
        {"source", c->html_url},
        {"version", m->main ? m->main : ""},
        {"created", created},
        {"revision", c->sha},
        {"licenses", c->license},
    };
    char **labels = NULL;
    for (size_t i = 0; i < WH_COUNT(standard); i++)
        wh_strv_take(&labels, wh_printf("org.opencontainers.image.%s=%s", standard[i][0], standard[i][1]));
    for (; custom && *custom; custom++) {
        wh_autofree char *label = metadata_expand(m, *custom, err);
        if (!label) {
            wh_strv_free(labels);
            return NULL;
        }
        put(&labels, label);
    }
    sort_labels(labels);
    return labels;
}
