/* Values that instructions check: ports, signals, durations, names that look like secrets (builder.md §1.6,
 * §1.8). */
#include "dockerfile/eval_internal.h"
#include "dockerfile/text.h"

#define MAX_PORTS 65536

static bool port_number(const char *text, size_t len, int *out)
{
    wh_autofree char *copy = wh_strndup(text, len);
    uint64_t v;
    if (!wh_parse_u64(copy, 65535, &v))
        return false;
    *out = (int)v;
    return true;
}

/* "8000" or "8000-8010". */
static bool port_range(const char *text, int *from, int *to)
{
    const char *dash = strchr(text, '-');
    if (!port_number(text, dash ? (size_t)(dash - text) : strlen(text), from))
        return false;
    *to = *from;
    return !dash || (port_number(dash + 1, strlen(dash + 1), to) && *to >= *from);
}

static bool is_address(const char *ip)
{
    size_t n = strlen(ip);
    if (n > 2 && ip[0] == '[' && ip[n - 1] == ']')
        return strspn(ip + 1, "0123456789abcdefABCDEF:.") == n - 2;
    if (strchr(ip, ':'))
        return strspn(ip, "0123456789abcdefABCDEF:.") == n;
    wh_autostrv char **parts = wh_strv_split(ip, '.');
    for (size_t i = 0; parts[i]; i++) {
        uint64_t v;
        if (!wh_parse_u64(parts[i], 255, &v))
            return false;
    }
    return wh_strv_len(parts) == 4;
}

int df_parse_ports(const char *text, char ***out, bool *upper_proto, bool *host_part, struct wh_error *err)
{
    wh_autofree char *copy = wh_strdup(text);
    char *port = strrchr(copy, ':'), *host_port = NULL, *ip = NULL;
    if (port) {
        *port++ = '\0';
        host_port = strrchr(copy, ':');
        if (host_port) {
            *host_port++ = '\0';
            ip = copy;
        } else {
            host_port = copy;
        }
    } else {
        port = copy;
    }
    *host_part = (ip && ip[0]) || (host_port && host_port[0]);
    char *proto = strchr(port, '/');
    if (proto)
        *proto++ = '\0';
    wh_autostr quoted = {0};
    df_add_quoted(&quoted, text);
    if (port[0] == '\0')
        return wh_fail(err, WH_E_ARGUMENT, "invalid port: %s: no port specified", wh_str_text(&quoted));
    wh_autofree char *lower = wh_strdup(proto && proto[0] ? proto : "tcp");
    wh_ascii_lower(lower);
    *upper_proto = proto && proto[0] && strcmp(proto, lower) != 0;
    if (strcmp(lower, "tcp") != 0 && strcmp(lower, "udp") != 0 && strcmp(lower, "sctp") != 0)
        return wh_fail(err, WH_E_ARGUMENT, "invalid port: %s: invalid proto: %s", wh_str_text(&quoted),
                       proto);
    if (ip && ip[0] && !is_address(ip))
        return wh_fail(err, WH_E_ARGUMENT, "invalid IP address: %s", ip);
    int from, to, host_from, host_to;
    if (!port_range(port, &from, &to))
        return wh_fail(err, WH_E_ARGUMENT, "invalid containerPort: %s", port);
    if (host_port && host_port[0]) {
        if (!port_range(host_port, &host_from, &host_to))
            return wh_fail(err, WH_E_ARGUMENT, "invalid hostPort: %s", host_port);
        if (to - from != host_to - host_from && to != from)
            return wh_fail(err, WH_E_ARGUMENT,
                           "invalid ranges specified for container and host Ports: %s and %s", port,
                           host_port);
    }
    if (wh_strv_len(*out) + (size_t)(to - from) >= MAX_PORTS / 4)
        return wh_fail(err, WH_E_LIMIT, "more than %d ports in one EXPOSE", MAX_PORTS / 4);
    for (int p = from; p <= to; p++)
        wh_strv_take(out, wh_printf("%d/%s", p, lower));
    return 0;
}

int df_check_signal(const char *text, struct wh_error *err)
{
    static const char *const names[] = {
        "ABRT", "ALRM", "BUS",  "CHLD", "CLD",  "CONT", "FPE",    "HUP",    "ILL",  "INT",  "IO",   "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR",  "QUIT", "SEGV",   "STKFLT", "STOP", "SYS",  "TERM", "TRAP",
        "TSTP", "TTIN", "TTOU", "URG",  "USR1", "USR2", "VTALRM", "WINCH",  "XCPU", "XFSZ", NULL};
    int64_t number;
    if (wh_parse_i64(text, INT32_MIN, INT32_MAX, &number))
        return number != 0 ? 0 : wh_fail(err, WH_E_ARGUMENT, "invalid signal: %s", text);
    wh_autofree char *upper = wh_strdup(text);
    wh_ascii_upper(upper);
    const char *name = wh_starts_with(upper, "SIG") ? upper + 3 : upper;
    uint64_t n;
    bool ok = strcmp(name, "RTMIN") == 0 || strcmp(name, "RTMAX") == 0 ||
              (wh_starts_with(name, "RTMIN+") && wh_parse_u64(name + 6, 15, &n) && n > 0) ||
              (wh_starts_with(name, "RTMAX-") && wh_parse_u64(name + 6, 14, &n) && n > 0);
    for (size_t i = 0; names[i] && !ok; i++)
        ok = strcmp(names[i], name) == 0;
    return ok ? 0 : wh_fail(err, WH_E_ARGUMENT, "invalid signal: %s", text);
}

/* value / unit without trailing zeros: "1.5". */
static void add_fraction(struct wh_str *out, uint64_t value, uint64_t unit)
{
    wh_str_addf(out, "%llu", (unsigned long long)(value / unit));
    value %= unit;
    if (value > 0)
        wh_str_addc(out, '.');
    while (value > 0) {
        unit /= 10;
        wh_str_addc(out, (char)('0' + value / unit));
        value %= unit;
    }
}

void df_add_duration(struct wh_str *out, int64_t ns)
{
    uint64_t u = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    if (ns < 0)
        wh_str_addc(out, '-');
    if (u == 0) {
        wh_str_add(out, "0s");
    } else if (u < 1000) {
        wh_str_addf(out, "%lluns", (unsigned long long)u);
    } else if (u < 1000000) {
        add_fraction(out, u, 1000);
        wh_str_add(out, "\xc2\xb5s");
    } else if (u < 1000000000) {
        add_fraction(out, u, 1000000);
        wh_str_add(out, "ms");
    } else {
        uint64_t minutes = u / 60000000000;
        if (minutes >= 60)
            wh_str_addf(out, "%lluh", (unsigned long long)(minutes / 60));
        if (minutes > 0)
            wh_str_addf(out, "%llum", (unsigned long long)(minutes % 60));
        add_fraction(out, u % 60000000000, 1000000000);
        wh_str_addc(out, 's');
    }
}

int df_check_heredoc_name(const char *name, struct wh_error *err)
{
    if (name[0] != '\0' && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
        strlen(name) <= 255)
        return 0;
    return wh_fail(err, WH_E_ARGUMENT,
                   "the heredoc's name `%s` must be a file name: a file of that name is made of it", name);
}

bool df_secret_name(const char *name)
{
    static const char *const words[] = {"apikey", "auth",     "credential",   "credentials",
                                        "key",    "password", "pword",        "passwd",
                                        "secret", "token",    "access_token", NULL};
    wh_autofree char *lower = wh_strdup(name);
    wh_ascii_lower(lower);
    wh_autostrv char **parts = wh_strv_split(lower, '_');
    bool found = false;
    for (size_t i = 0; parts[i]; i++) {
        if (strcmp(parts[i], "public") == 0 || strcmp(parts[i], "file") == 0)
            return false;
        for (size_t k = 0; words[k]; k++)
            found |= strcmp(parts[i], words[k]) == 0;
    }
    return found;
}
