/* The map of a V1 server's resources, and routes by it. */
#include "wherry/github/location.h"

#include <curl/curl.h>
#include <stdio.h>

#include "github/location_internal.h"
#include "wherry/base/log.h"

struct version {
    unsigned major, minor;
};

struct location {
    bool known;
    char *area, *name, *template;
    struct version min, max, released; /* max 0.0: not said */
    unsigned resource_version;
};

struct wh_locations {
    char *base;
    size_t definitions;
    struct location at[WH_RESOURCES];
};

/* What we speak (appendix A). */
static const struct {
    const char *text, *id;
    struct version version;
    unsigned resource_version;
} resources[WH_RESOURCES] = {
    [WH_RESOURCE_POOLS] = {"pools", "a8c47e17-4d56-4a56-92bb-de7ea7dc65be", {5, 1}, 1},
    [WH_RESOURCE_AGENTS] = {"agents", "e298ef32-5878-4cab-993c-043836571f42", {6, 0}, 2},
    [WH_RESOURCE_SESSIONS] = {"sessions", "134e239e-2df3-4794-a6f6-24f1f19ec8dc", {5, 1}, 1},
    [WH_RESOURCE_MESSAGES] = {"messages", "c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", {6, 0}, 1},
    [WH_RESOURCE_MESSAGE] = {"messages", "c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", {5, 1}, 1},
    [WH_RESOURCE_JOBREQUESTS] = {"jobrequests", "fc825784-c92a-4299-9221-998a02d1b54f", {5, 1}, 1},
    [WH_RESOURCE_AGENT_UPDATES] = {"updates", "8cc1b02b-ae49-4516-b5ad-4f9b29967c30", {5, 1}, 1},
    [WH_RESOURCE_CONFIG_REFRESH] = {"config refresh", "13b5d709-74aa-470b-a8e9-bf9f3ded3f18", {6, 0}, 1},
    [WH_RESOURCE_JOB_MESSAGE] = {"job message", "25adab70-1379-4186-be8e-b643061ebe3a", {6, 0}, 1},
    [WH_RESOURCE_TIMELINES] = {"timelines", "83597576-cc2c-453c-bea6-2882ae6a1653", {5, 1}, 1},
    [WH_RESOURCE_RECORDS] = {"records", "8893bc5b-35b2-4be7-83cb-99e683551db4", {5, 1}, 1},
    [WH_RESOURCE_FEED] = {"feed", "858983e4-19bd-4c5e-864c-507b59b58b12", {5, 1}, 1},
    [WH_RESOURCE_LOGS] = {"logs", "46f5667d-263a-4684-91b1-dff7fdcf64e2", {5, 1}, 1},
    [WH_RESOURCE_ATTACHMENTS] = {"attachments", "7898f959-9cdf-4096-b29e-7f293031629e", {5, 1}, 1},
    [WH_RESOURCE_PLAN_EVENTS] = {"plan events", "557624af-b29e-4c20-8ab0-0399d2204f3f", {2, 0}, 1},
    [WH_RESOURCE_ACTION_DOWNLOAD_INFO] = {"action download info",
                                          "27d7f831-88c1-4719-8ca1-6a061dad90eb",
                                          {6, 0},
                                          1},
};

const char *wh_resource_text(enum wh_resource resource)
{
    return resources[resource].text;
}

/* ---- reading ---- */

static int compare(struct version a, struct version b)
{
    if (a.major != b.major)
        return a.major < b.major ? -1 : 1;
    return a.minor == b.minor ? 0 : a.minor < b.minor ? -1 : 1;
}

/* "5.1", also with something behind it, or a number; 0.0 for anything else. */
static struct version version_of(const cJSON *object, const char *name)
{
    struct version out = {0};
    char dot, rest;
    wh_autofree char *text = wh_json_text(object, name);
    unsigned major, minor = 0;
    if (!text || strlen(text) > 32)
        return out;
    int count = sscanf(text, "%4u%c%4u%c", &major, &dot, &minor, &rest);
    if (count == 1 || (count >= 3 && dot == '.'))
        out = (struct version){major, count >= 3 ? minor : 0};
    return out;
}

static void location_clear(struct location *l)
{
    free(l->area);
    free(l->name);
    free(l->template);
    memset(l, 0, sizeof *l);
}

/* The two lists name the same things differently. */
static const char *either(const cJSON *definition, const char *name, const char *other)
{
    const char *text = wh_json_string(definition, name);
    return text ? text : wh_json_string(definition, other);
}

static void read_definition(struct wh_locations *l, const cJSON *definition)
{
    const char *id = either(definition, "identifier", "id");
    const char *template = either(definition, "relativePath", "routeTemplate");
    int64_t version = wh_json_int(definition, "resourceVersion", 1);
    l->definitions++;
    if (!id || !template || strlen(template) > WH_MAX_ROUTE_TEMPLATE || version <= 0)
        return;
    for (size_t i = 0; i < WH_RESOURCES; i++) {
        if (!wh_streq_ci(id, resources[i].id))
            continue;
        struct location *at = &l->at[i];
        location_clear(at);
        at->known = true;
        at->area = wh_strdup(either(definition, "serviceType", "area"));
        at->name = wh_strdup(either(definition, "displayName", "resourceName"));
        at->template = wh_strdup(template);
        at->min = version_of(definition, "minVersion");
        at->max = version_of(definition, "maxVersion");
        at->released = version_of(definition, "releasedVersion");
        at->resource_version = (unsigned)WH_MIN(version, (int64_t)99);
    }
}

static const cJSON *definitions_of(const cJSON *json)
{
    if (cJSON_IsArray(json))
        return json;
    const cJSON *list = wh_json_get(wh_json_get(json, "locationServiceData"), "serviceDefinitions");
    if (!list)
        list = wh_json_get(json, "value");
    return cJSON_IsArray(list) ? list : NULL;
}

struct wh_locations *gh_locations_read(const cJSON *json, const char *base, struct wh_error *err)
{
    const cJSON *list = definitions_of(json), *definition;
    if (!list || cJSON_GetArraySize(list) == 0) {
        wh_fail(err, WH_E_PROTOCOL, "%s does not say where its resources are", base);
        return NULL;
    }
    struct wh_locations *l = wh_calloc(1, sizeof *l);
    l->base = wh_strdup(base);
    cJSON_ArrayForEach(definition, list)
    {
        if (l->definitions >= WH_MAX_LOCATIONS) {
            wh_fail(err, WH_E_LIMIT, "%s names more than %d resources", base, WH_MAX_LOCATIONS);
            wh_locations_free(l);
            return NULL;
        }
        read_definition(l, definition);
    }
    return l;
}

struct wh_locations *wh_locations_parse(const char *text, size_t len, const char *base, struct wh_error *err)
{
    wh_autojson *json = wh_json_parse(text, len, WH_MAX_CONNECTION_DATA, "connectionData", err);
    return json ? gh_locations_read(json, base, err) : NULL;
}

void wh_locations_free(struct wh_locations *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < WH_RESOURCES; i++)
        location_clear(&l->at[i]);
    free(l->base);
    free(l);
}

void wh_locations_free_ptr(struct wh_locations **l)
{
    wh_locations_free(*l);
    *l = NULL;
}

bool wh_locations_has(const struct wh_locations *l, enum wh_resource resource)
{
    return l->at[resource].known;
}

/* ---- routes ---- */

/* What stands for {name} in a template; NULL: unset. */
static const char *value_of(const struct location *at, const struct wh_route_value *values, const char *name)
{
    if (wh_streq_ci(name, "area"))
        return at->area;
    if (wh_streq_ci(name, "resource"))
        return at->name;
    for (; values && values->name; values++)
        if (wh_streq_ci(name, values->name))
            return values->value;
    return NULL;
}

static void add_encoded(struct wh_str *out, const char *value)
{
    char *encoded = curl_easy_escape(NULL, value, 0);
    wh_str_add(out, encoded ? encoded : "");
    curl_free(encoded);
}

static void end_segment(struct wh_str *out, struct wh_str *segment)
{
    if (segment->len)
        wh_str_addf(out, "/%s", segment->data);
    wh_str_clear(segment);
}

/* A segment that comes out empty falls away with its slash. "{{" and "}}" are braces; "{*name}" takes the
 * rest. */
static void expand(const struct location *at, const struct wh_route_value *values, struct wh_str *out)
{
    wh_autostr segment = {0};
    struct wh_reader r = wh_reader_of(at->template, strlen(at->template));
    int c;
    while ((c = wh_reader_next(&r)) >= 0) {
        if (c == '/') {
            end_segment(out, &segment);
        } else if ((c == '{' || c == '}') && wh_reader_take(&r, (char)c)) {
            wh_str_addc(&segment, (char)c);
        } else if (c == '{') {
            wh_autostr name = {0};
            wh_reader_take(&r, '*');
            while ((c = wh_reader_next(&r)) >= 0 && c != '}')
                wh_str_addc(&name, (char)c);
            const char *value = value_of(at, values, wh_str_text(&name));
            if (value)
                add_encoded(&segment, value);
        } else {
            wh_str_addc(&segment, (char)c);
        }
    }
    end_segment(out, &segment);
}

/* The newest that both sides know. */
static int negotiate(const struct location *at, enum wh_resource resource, struct wh_route *out,
                     struct wh_error *err)
{
    struct version ours = resources[resource].version;
    unsigned revision = resources[resource].resource_version;
    bool max_known = at->max.major || at->max.minor;
    if (compare(at->min, ours) > 0)
        return wh_fail(
            err, WH_E_UNSUPPORTED,
            "the server's %s need at least version %u.%u of the protocol; this program speaks %u.%u",
            resources[resource].text, at->min.major, at->min.minor, ours.major, ours.minor);
    if (max_known && compare(at->max, ours) < 0) {
        const char *preview = compare(at->released, at->max) < 0 ? "-preview" : "";
        snprintf(out->version, sizeof out->version, "%u.%u%s", at->max.major, at->max.minor, preview);
        return 0;
    }
    snprintf(out->version, sizeof out->version, "%u.%u-preview.%u", ours.major, ours.minor,
             WH_MIN(revision, at->resource_version));
    return 0;
}

int wh_locations_route(const struct wh_locations *l, enum wh_resource resource,
                       const struct wh_route_value *values, struct wh_route *out, struct wh_error *err)
{
    const struct location *at = &l->at[resource];
    memset(out, 0, sizeof *out);
    if (!at->known)
        return wh_fail(err, WH_E_UNSUPPORTED, "%s does not offer %s", l->base, resources[resource].text);
    if (negotiate(at, resource, out, err))
        return -1;
    wh_autostr url = {0};
    size_t len = strlen(l->base);
    while (len > 0 && l->base[len - 1] == '/')
        len--;
    wh_str_addn(&url, l->base, len);
    expand(at, values, &url);
    out->url = wh_str_steal(&url);
    return 0;
}

void wh_route_clear(struct wh_route *route)
{
    free(route->url);
    memset(route, 0, sizeof *route);
}

void wh_route_query(struct wh_route *route, const char *name, const char *value)
{
    wh_autostr url = {0};
    wh_str_addf(&url, "%s%c%s=", route->url, strchr(route->url, '?') ? '&' : '?', name);
    add_encoded(&url, value);
    free(route->url);
    route->url = wh_str_steal(&url);
}
