#include "wherry/container/uplink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "wherry/base/fs.h"
#include "wherry/platform/netns.h"
#include "wherry/platform/process.h"

#define SYSTEM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define FORWARDING "/proc/sys/net/ipv4/ip_forward"
#define MAX_SAID ((size_t)64 << 10)

int wh_uplink_subnet(const char *text, uint32_t *address, struct wh_error *err)
{
    struct in_addr parsed;
    wh_autofree char *ip = wh_strdup(text);
    char *slash = strchr(ip, '/');
    if (slash)
        *slash = '\0';
    if (!slash || !wh_streq(slash + 1, "16") || inet_pton(AF_INET, ip, &parsed) != 1 ||
        (ntohl(parsed.s_addr) & 0xffff) != 0)
        return wh_fail(err, WH_E_ARGUMENT, "'%s' is no /16 like " WH_UPLINK_DEFAULT_SUBNET, text);
    *address = parsed.s_addr;
    return 0;
}

/* ---- the firewall ---- */

static int run(const char *path, const char *words, int input, struct wh_str *said, struct wh_error *err)
{
    wh_autostrv char **argv = wh_strv_split(words, ' ');
    wh_autostr errors = {0};
    char *env[] = {"PATH=" SYSTEM_PATH, NULL};
    struct wh_process_options options = WH_PROCESS_OPTIONS;
    options.path = path;
    options.argv = argv;
    options.env = env;
    options.stdin_fd = input;
    int code = wh_process_run(&options, MAX_SAID, said, &errors, err);
    if (code <= 0)
        return code;
    wh_autofree char *text = wh_view_dup(wh_view_trim(wh_view_of(wh_str_text(&errors))));
    return wh_fail(err, WH_E_FAILED, "`%s`: %s", words, text[0] ? text : "failed");
}

/* One transaction: the table is new each time and never absent between. What comes from elsewhere reaches a
 * container by its published ports only, and no job reaches another's containers. */
static int allow_nft(const char *nft, const char *subnet, struct wh_error *err)
{
    wh_autofree char *rules = wh_printf("table ip wherry\n"
                                        "delete table ip wherry\n"
                                        "table ip wherry {\n"
                                        " chain postrouting {\n"
                                        "  type nat hook postrouting priority 100; policy accept;\n"
                                        "  ip saddr %s oifname != \"wherry*\" masquerade\n"
                                        " }\n"
                                        " chain forward {\n"
                                        "  type filter hook forward priority 0; policy accept;\n"
                                        "  iifname \"wherry*\" oifname \"wherry*\" drop\n"
                                        "  oifname \"wherry*\" ct state established,related accept\n"
                                        "  oifname \"wherry*\" drop\n"
                                        " }\n"
                                        "}\n",
                                        subnet);
    int ends[2];
    if (wh_pipe(ends, false, err) < 0)
        return -1;
    int n = wh_write_all(ends[1], rules, strlen(rules), err); /* less than a pipe holds */
    (void)close(ends[1]);
    if (n == 0)
        n = run(nft, "nft -f -", ends[0], NULL, err);
    (void)close(ends[0]);
    return n;
}

static int ensure_rule(const char *iptables, const char *table, const char *how, const char *rule,
                       struct wh_error *err)
{
    wh_autofree char *check = wh_printf("iptables -w 5 -t %s -C %s", table, rule);
    wh_autofree char *add = wh_printf("iptables -w 5 -t %s %s %s", table, how, rule);
    return run(iptables, check, -1, NULL, NULL) == 0 ? 0 : run(iptables, add, -1, NULL, err);
}

static int allow_iptables(const char *iptables, const char *subnet, bool all, struct wh_error *err)
{
    /* Each is put before the former ones: the last stands first. */
    static const char *const forward[] = {
        "FORWARD -o wherry+ -j DROP",
        "FORWARD -i wherry+ -j ACCEPT",
        "FORWARD -o wherry+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "FORWARD -i wherry+ -o wherry+ -j DROP",
    };
    wh_autofree char *masquerade = wh_printf("POSTROUTING -s %s ! -o wherry+ -j MASQUERADE", subnet);
    if (all && ensure_rule(iptables, "nat", "-A", masquerade, err) < 0)
        return -1;
    for (size_t i = 0; i < WH_COUNT(forward); i++)
        if (ensure_rule(iptables, "filter", "-I", forward[i], err) < 0)
            return -1;
    return 0;
}

/* Docker sets it: then what our own table accepts is dropped by theirs. */
static bool forward_is_closed(const char *iptables)
{
    wh_autostr said = {0};
    return run(iptables, "iptables -w 5 -S FORWARD", -1, &said, NULL) == 0 &&
           wh_starts_with(wh_str_text(&said), "-P FORWARD DROP");
}

static int allow(const char *subnet, struct wh_error *err)
{
    wh_autofree char *nft = wh_find_program("nft", SYSTEM_PATH, false);
    wh_autofree char *iptables = wh_find_program("iptables", SYSTEM_PATH, false);
    if (!nft && !iptables)
        return wh_fail(err, WH_E_NOT_FOUND, "neither nft nor iptables is installed (apt install nftables)");
    if (nft && allow_nft(nft, subnet, err) < 0)
        return -1;
    if (iptables && (!nft || forward_is_closed(iptables)))
        return allow_iptables(iptables, subnet, !nft, err);
    return 0;
}

static int forward(struct wh_error *err)
{
    wh_autostr now = {0};
    wh_autoclose int fd = open(FORWARDING, O_WRONLY | O_CLOEXEC);
    if (wh_read_file(AT_FDCWD, FORWARDING, 16, &now, NULL) >= 0 && wh_starts_with(wh_str_text(&now), "1"))
        return 0;
    return fd >= 0 && write(fd, "1", 1) == 1 ? 0
                                             : wh_fail_errno(err, "let the machine forward (" FORWARDING ")");
}

/* ---- the links ---- */

int wh_uplink_make(int netns, const char *subnet, uint32_t *gateway, struct wh_error *err)
{
    const char *text = subnet ? subnet : WH_UPLINK_DEFAULT_SUBNET;
    uint32_t base = 0;
    char name[WH_MAX_LINK_NAME + 1];
    if (wh_uplink_subnet(text, &base, err) < 0 || allow(text, err) < 0 || forward(err) < 0)
        return -1;
    unsigned i = 0;
    for (; i < WH_MAX_UPLINKS; i++) {
        wh_autoerror why = {0};
        (void)snprintf(name, sizeof name, "wherry%u", i);
        if (wh_link_add_veth(name, WH_UPLINK_INSIDE, netns, &why) == 0)
            break;
        if (why.code != WH_E_EXISTS)
            return wh_error_move(err, &why);
    }
    if (i == WH_MAX_UPLINKS)
        return wh_fail(err, WH_E_LIMIT, "all %u networks of containers of this machine are in use",
                       WH_MAX_UPLINKS);
    *gateway = htonl(ntohl(base) + (i << 8) + 1);
    return wh_link_add_address(name, *gateway, WH_UPLINK_PREFIX, err) < 0 ? -1 : wh_link_up(name, err);
}
