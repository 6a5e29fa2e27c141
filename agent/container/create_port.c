/* Published ports, and durations as Go has them. */
#include "create_internal.h"

struct range {
    uint64_t first, last;
};

static bool read_range(const char *text, struct range *out)
{
    wh_autofree char *copy = wh_strdup(text);
    char *dash = strchr(copy, '-');
    if (dash)
        *dash = '\0';
    if (!wh_parse_u64(copy, 65535, &out->first) || (dash && !wh_parse_u64(dash + 1, 65535, &out->last)))
        return false;
    if (!dash)
        out->last = out->first;
    return out->first >= 1 && out->first <= out->last;
}

static int bad(const char *text, struct wh_error *err)
{
    return wh_fail(err, WH_E_ARGUMENT, "'%.200s' is no port: [[address:]port:]port[/tcp|/udp] is", text);
}

/* What stands before the last colon: "", "80", "127.0.0.1:80", "127.0.0.1:", "[::1]:80". */
static int read_outer(const char *text, char **address, struct range *range, bool *given, const char *all,
                      struct wh_error *err)
{
    const char *colon = strrchr(text, ':');
    const char *port = colon ? colon + 1 : text;
    *given = *port != '\0';
    if (colon) {
        bool bracket = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
        if (!bracket && memchr(text, ':', (size_t)(colon - text)))
            return bad(all, err);
        *address = bracket ? wh_strndup(text + 1, (size_t)(colon - text) - 2)
                           : wh_strndup(text, (size_t)(colon - text));
    }
    return *given && !read_range(port, range) ? bad(all, err) : 0;
}

int wh_create_port(cJSON *request, const char *text, struct wh_error *err)
{
    wh_autofree char *copy = wh_strdup(text);
    wh_autofree char *address = NULL;
    struct range inner;
    struct range outer = {0, 0};
    bool given = false;
    char *slash = strchr(copy, '/');
    const char *protocol = slash ? slash + 1 : "tcp";
    if (slash)
        *slash = '\0';
    if (!wh_streq(protocol, "tcp") && !wh_streq(protocol, "udp"))
        return wh_streq(protocol, "sctp")
                   ? wh_fail(err, WH_E_UNSUPPORTED, "the port '%s': sctp is not supported by wherry", text)
                   : bad(text, err);
    char *colon = strrchr(copy, ':');
    if (!read_range(colon ? colon + 1 : copy, &inner))
        return bad(text, err);
    if (colon) {
        *colon = '\0';
        if (read_outer(copy, &address, &outer, &given, text, err) < 0)
            return -1;
    }
    /* One port may have any of a range: the first is as good as another. */
    bool loose = inner.first == inner.last;
    if (given && !loose && outer.last - outer.first != inner.last - inner.first)
        return wh_fail(err, WH_E_ARGUMENT, "the port '%s': the ranges are not of one length", text);
    cJSON *list = cJSON_GetObjectItemCaseSensitive(request, "ports");
    if (!list)
        list = cJSON_AddArrayToObject(request, "ports");
    for (uint64_t i = inner.first; i <= inner.last; i++) {
        if ((size_t)cJSON_GetArraySize(list) >= WH_MAX_CREATE_PORTS)
            return wh_fail(err, WH_E_LIMIT, "a container can publish %u ports", WH_MAX_CREATE_PORTS);
        cJSON *one = cJSON_CreateObject();
        wh_json_add_int(one, "container", (int64_t)i);
        wh_json_add_int(one, "host", given ? (int64_t)(outer.first + (i - inner.first)) : 0);
        wh_json_add_string(one, "protocol", protocol);
        if (address && *address)
            wh_json_add_string(one, "address", address);
        cJSON_AddItemToArray(list, one);
    }
    return 0;
}

bool wh_create_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    struct wh_reader r = wh_reader_of(text, strlen(text));
    int64_t sum = 0;
    if (wh_reader_end(&r))
        return false;
    while (!wh_reader_end(&r)) {
        int64_t number = 0;
        int digits = 0;
        for (int c; (c = wh_reader_peek(&r)) >= '0' && c <= '9' && digits < 9; digits++)
            number = number * 10 + (wh_reader_next(&r) - '0');
        size_t i = 0;
        while (i < WH_COUNT(units) && !wh_reader_take_text(&r, units[i].unit))
            i++;
        if (digits == 0 || i == WH_COUNT(units) || sum > INT64_C(1) << 45)
            return false;
        sum += number * units[i].ms;
    }
    *ms = sum;
    return true;
}
