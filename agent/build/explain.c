/* Why the store had no answer: a step's inputs are kept beside its record by name, and the first that differs
 * from the nearest earlier record's is told. */
#include "build/solve.h"

#include "wherry/base/digest.h"

#define WH_MAX_EXPLAINED_INPUTS                                                                              \
    3000 /* of one step: more are not kept, and then only said to have changed                               \
          */

void key_input(struct key *k, const char *what, const char *name, const void *value, size_t len)
{
    if (!k->inputs || k->ninputs > WH_MAX_EXPLAINED_INPUTS)
        return;
    struct wh_digest digest;
    wh_autosha256 *hash = wh_sha256_new();
    wh_sha256_update(hash, value, len);
    wh_sha256_final(hash, &digest);
    char hex[2 * 6 + 1];
    for (size_t i = 0; i < 6; i++) /* enough to tell two values apart */
        (void)snprintf(hex + 2 * i, 3, "%02x", digest.bytes[i]);
    wh_strv_take(k->inputs, k->ninputs++ == WH_MAX_EXPLAINED_INPUTS
                                ? wh_strdup("")
                                : wh_printf("%s %s%s%s", hex, what, name[0] ? " " : "", name));
}

void key_file_inputs(struct key *k, const struct source *s)
{
    for (size_t m = 0; k->inputs && m < s->nmatches; m++) {
        const struct match *match = &s->matches[m];
        for (size_t i = match->first; i < match->first + match->count; i++) {
            const struct entry *e = &s->entries[i];
            struct {
                struct wh_digest digest;
                uint64_t mode;
            } value = {e->digest, e->st.st_mode};
            wh_autofree char *path = e->path[0] == '\0'       ? wh_strdup(match->path[0] ? match->path : ".")
                                     : match->path[0] == '\0' ? wh_strdup(e->path)
                                                              : wh_printf("%s/%s", match->path, e->path);
            if (S_ISLNK(e->st.st_mode) && e->link)
                key_input(k, "link", path, e->link, strlen(e->link));
            else
                key_input(k, S_ISDIR(e->st.st_mode) ? "folder" : "file", path, &value, sizeof value);
        }
    }
}

/* ---- what a record keeps ---- */

static void base_of(const struct build *b, const struct stage *s, cJSON *meta)
{
    if (!s->image)
        return;
    char text[WH_DIGEST_TEXT];
    wh_json_add_string(meta, "base", b->plan->stages[s->index].base.name);
    wh_json_add_string(meta, "baseDigest", wh_digest_text(&s->image->manifest.digest, text));
}

char *explain_meta(const struct build *b, const struct stage *s, const struct wh_df_step *step,
                   char *const *inputs)
{
    wh_autojson *meta = cJSON_CreateObject();
    wh_json_add_string(meta, "text", step->text);
    wh_json_add_string(meta, "line",
                       step->instr->original); /* as written: what variables put in is told by name */
    base_of(b, s, meta);
    cJSON *list = cJSON_AddArrayToObject(meta, "inputs");
    size_t bytes = 0;
    for (; inputs && *inputs && bytes < WH_MAX_RECORD_META / 4; inputs++) {
        bytes += strlen(*inputs);
        cJSON_AddItemToArray(list, cJSON_CreateString(*inputs));
    }
    return wh_json_print(meta);
}

/* ---- what differs ---- */

static const char *name_of(const char *input)
{
    const char *blank = strchr(input, ' ');
    return blank ? blank + 1 : "";
}

/* The earlier value of the input of that name; NULL if there was none. Lists are mostly alike: the search
 * begins where the last one ended. */
static const char *find(const cJSON *list, const cJSON **from, const char *name)
{
    for (int round = 0; round < 2; round++) {
        const cJSON *item = round == 0 ? (*from ? (*from)->next : list->child) : list->child;
        for (; item; item = item->next)
            if (cJSON_IsString(item) && strcmp(name_of(item->valuestring), name) == 0) {
                *from = item;
                return item->valuestring;
            }
    }
    return NULL;
}

static bool has(char *const *inputs, const char *name)
{
    for (; inputs && *inputs; inputs++)
        if (strcmp(name_of(*inputs), name) == 0)
            return true;
    return false;
}

static char *first_difference(const cJSON *before, char *const *inputs)
{
    const cJSON *at = NULL, *item;
    for (char *const *input = inputs; input && *input; input++) {
        const char *name = name_of(*input), *was = name[0] ? find(before, &at, name) : *input;
        if (!was)
            return wh_printf("%s is new", name);
        if (strcmp(was, *input) != 0)
            return wh_printf("%s changed", name);
    }
    cJSON_ArrayForEach(item, before)
    {
        if (cJSON_IsString(item) && name_of(item->valuestring)[0] && !has(inputs, name_of(item->valuestring)))
            return wh_printf("%s is gone", name_of(item->valuestring));
    }
    return NULL;
}

/* A variable that the command line gives is called what it is there. */
static char *as_argument(const struct build *b, char *why)
{
    static const char word[] = "variable ";
    if (!why || !wh_starts_with(why, word) || !b->request->build_args)
        return why;
    const char *rest = why + strlen(word);
    wh_autofree char *name = wh_strndup(rest, strcspn(rest, " "));
    if (!wh_env_get(b->request->build_args, name))
        return why;
    char *text = wh_printf("build argument %s", rest);
    free(why);
    return text;
}

static char *base_difference(const struct build *b, const struct stage *s, const cJSON *meta)
{
    char now[WH_DIGEST_TEXT];
    const char *was = wh_json_string(meta, "baseDigest");
    if (!s->image || !was || strcmp(was, wh_digest_text(&s->image->manifest.digest, now)) == 0)
        return NULL;
    return wh_printf("base image %s changed: %.19s, now %.19s", b->plan->stages[s->index].base.name, was,
                     now);
}

/* The first step of the stage before this one that had no answer either. */
static char *step_before(const struct stage *s, const struct node *node)
{
    for (const struct node *n = s->nodes; n < node; n++)
        if (n->state == NODE_MISS && !n->found_late)
            return wh_printf("what `%s` made before it changed", n->step->text);
    return NULL;
}

char *explain_miss(const struct build *b, const struct stage *s, const struct node *node,
                   const char *meta_text, char *const *inputs)
{
    wh_autojson *meta = wh_json_parse(meta_text, strlen(meta_text), WH_MAX_RECORD_META, "record", NULL);
    const char *line = wh_json_string(meta, "line");
    const cJSON *before = wh_json_get(meta, "inputs");
    if (line && strcmp(line, node->step->instr->original) != 0)
        return wh_printf("the instruction was `%s`", line);
    char *why = before && before->child ? as_argument(b, first_difference(before, inputs)) : NULL;
    if (!why)
        why = base_difference(b, s, meta);
    if (!why)
        why = step_before(s, node);
    return why ? why : wh_strdup("what it stands on, or takes from, changed");
}
