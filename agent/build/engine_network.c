/* Networks of an engine's containers: members, their names, and their ports. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "build/engine.h"
#include "wherry/base/log.h"
#include "wherry/container/network.h"
#include "wherry/platform/netns.h"

#define LAUNCHER_MS 30000 /* how long its answer may take: it runs nft or iptables */

/* ---- the launcher ---- */

/* nfds: at most 1; *got: a descriptor that came with the answer, or -1. */
static int ask_launcher(struct engine *e, const cJSON *request, const int *fds, size_t nfds, int *got,
                        cJSON **answer, struct wh_error *err)
{
    int pair[2];
    int all[2] = {-1, -1};
    wh_autoframe frame = {0};
    *got = -1;
    if (wh_frame_pair(pair, err) < 0)
        return -1;
    wh_autoclose int here = pair[0];
    for (size_t i = 0; i < nfds; i++)
        all[i] = fds[i];
    all[nfds] = pair[1];
    int n = wh_frame_send(e->env->launcher, request, all, nfds + 1, err);
    (void)close(pair[1]);
    struct pollfd fd = {here, POLLIN, 0};
    while (n == 0 && (n = poll(&fd, 1, LAUNCHER_MS)) < 0 && errno == EINTR)
        n = 0;
    if (n <= 0)
        return n < 0 ? -1 : wh_fail(err, WH_E_TIMEOUT, "the launcher gives no answer");
    if (wh_frame_recv(here, &frame, err) != 1)
        return wh_fail(err, WH_E_FAILED, "the launcher takes no requests");
    const char *error = wh_json_string(frame.json, "error");
    if (!wh_json_bool(frame.json, "ok", false))
        return wh_fail(err, WH_E_FAILED, "%s", error ? error : "the launcher refused");
    if (frame.nfds > 0)
        *got = wh_steal_fd(&frame.fds[0]);
    *answer = wh_steal(&frame.json);
    return 0;
}

static int open_network(struct engine *e, struct engine_network *network, struct wh_error *err)
{
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *answer = NULL;
    wh_autoclose int nothing = -1;
    wh_autoclose int netns = wh_network_new(err);
    struct in_addr gateway;
    if (netns < 0)
        return -1;
    wh_json_add_string(request, "type", "uplink");
    if (ask_launcher(e, request, &netns, 1, &nothing, &answer, err) < 0)
        return -1;
    const char *text = wh_json_string(answer, "gateway");
    if (!text || inet_pton(AF_INET, text, &gateway) != 1)
        return wh_fail(err, WH_E_PROTOCOL, "the launcher named no gateway");
    if (wh_network_open(netns, gateway.s_addr, err) < 0)
        return -1;
    network->gateway = gateway.s_addr;
    network->netns = wh_steal_fd(&netns);
    return 0;
}

/* ---- networks ---- */

static struct engine_network *find(struct engine *e, const char *name)
{
    for (size_t i = 0; i < e->nnetworks; i++)
        if (wh_streq(e->networks[i]->name, name))
            return e->networks[i];
    return NULL;
}

static void network_free(struct engine_network *network)
{
    wh_proxy_free(network->inward);
    wh_close_fd(&network->netns);
    free(network->name);
    free(network->why);
    free(network);
}

static struct engine_network *make(struct engine *e, const char *name, struct wh_error *err)
{
    wh_autoerror why = {0};
    if (e->nnetworks == WH_MAX_ENGINE_NETWORKS) {
        (void)wh_fail(err, WH_E_LIMIT, "a job can have %d networks", WH_MAX_ENGINE_NETWORKS);
        return NULL;
    }
    struct engine_network *network = wh_calloc(1, sizeof *network);
    network->name = wh_strdup(name);
    network->netns = -1;
    if (open_network(e, network, &why) < 0) {
        network->why = wh_strdup(wh_error_text(&why));
        wh_log_info("containers share the machine's network: %s", network->why);
    }
    e->networks[e->nnetworks++] = network;
    return network;
}

struct engine_network *engine_network_get(struct engine *e, const char *name, struct wh_error *err)
{
    pthread_mutex_lock(&e->network_lock);
    struct engine_network *network = find(e, name);
    if (!network)
        network = make(e, name, err);
    pthread_mutex_unlock(&e->network_lock);
    return network;
}

int engine_network_remove(struct engine *e, const char *name, struct wh_error *err)
{
    int n = 0;
    pthread_mutex_lock(&e->network_lock);
    struct engine_network *network = find(e, name);
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; network && i < e->ncontainers && n == 0; i++)
        if (e->containers[i]->network == network)
            n = wh_fail(err, WH_E_BUSY, "network %s has active endpoints (%s)", name, e->containers[i]->name);
    pthread_mutex_unlock(&e->lock);
    if (!network)
        n = wh_fail(err, WH_E_NOT_FOUND, "network %s not found", name);
    if (network && n == 0) {
        size_t at = 0;
        while (e->networks[at] != network)
            at++;
        e->networks[at] = e->networks[--e->nnetworks];
        network_free(network);
    }
    pthread_mutex_unlock(&e->network_lock);
    return n;
}

void engine_networks_free(struct engine *e)
{
    for (size_t i = 0; i < e->nnetworks; i++)
        network_free(e->networks[i]);
    wh_proxy_free(e->outward);
}

/* ---- names ---- */

static void add_name(const struct engine_container *c, const char *name, struct wh_run_host *hosts,
                     size_t max, size_t *n, char ***keep)
{
    if (*n == max || !name || !*name)
        return;
    wh_strv_add(keep, name);
    size_t at = wh_strv_len(*keep);
    wh_strv_add(keep, c->address);
    hosts[(*n)++] = (struct wh_run_host){(*keep)[at - 1], (*keep)[at]};
}

static void add_member(const struct engine_container *c, struct wh_run_host *hosts, size_t max, size_t *n,
                       char ***keep)
{
    const cJSON *alias;
    size_t count = 0;
    cJSON_ArrayForEach(alias, wh_json_get(c->request, "aliases"))
    {
        if (cJSON_IsString(alias) && count++ < WH_MAX_ENGINE_NAMES)
            add_name(c, alias->valuestring, hosts, max, n, keep);
    }
    add_name(c, c->name, hosts, max, n, keep);
    if (!wh_streq(c->name, c->id))
        add_name(c, c->id, hosts, max, n, keep);
}

static void add_own(const struct engine_container *c, struct wh_run_host *hosts, size_t max, size_t *n,
                    char ***keep)
{
    const cJSON *item;
    char gateway[INET_ADDRSTRLEN] = "127.0.0.1";
    if (c->netns >= 0)
        (void)inet_ntop(AF_INET, &c->network->gateway, gateway, sizeof gateway);
    cJSON_ArrayForEach(item, wh_json_get(c->request, "hosts"))
    {
        const char *name = wh_json_string(item, "name");
        const char *address = wh_json_string(item, "address");
        if (*n == max || !name || !address)
            continue;
        wh_strv_add(keep, name);
        size_t at = wh_strv_len(*keep);
        wh_strv_add(keep, wh_streq(address, "host-gateway") ? gateway : address);
        hosts[(*n)++] = (struct wh_run_host){(*keep)[at - 1], (*keep)[at]};
    }
}

void engine_network_spec(struct engine_container *c, struct wh_run_spec *spec, struct wh_run_host *hosts,
                         size_t max, char ***keep)
{
    struct engine *e = c->engine;
    const char *hostname = wh_json_string(c->request, "hostname");
    size_t n = 0;
    add_own(c, hosts, max, &n, keep);
    for (size_t i = 0; c->network && i < e->ncontainers; i++) {
        const struct engine_container *other = e->containers[i];
        if (other->network == c->network && other->state != CONTAINER_EXITED && other->address[0])
            add_member(other, hosts, max, &n, keep);
    }
    const bool none = wh_streq(wh_json_string(c->request, "network"), "none");
    spec->network = none ? WH_RUN_NET_NONE : c->netns >= 0 ? WH_RUN_NET_OWN : WH_RUN_NET_HOST;
    spec->netns = c->netns;
    spec->address = c->netns >= 0 ? c->address : NULL;
    spec->hostname = hostname ? hostname : c->id;
    spec->hosts = hosts;
    spec->nhosts = n;
}

void engine_hosts_refresh(struct engine *e, const struct engine_network *network)
{
    for (size_t i = 0; network && i < e->ncontainers; i++) {
        struct engine_container *c = e->containers[i];
        wh_autoerror err = {0};
        wh_autostrv char **keep = NULL;
        wh_autofree struct wh_run_host *hosts = NULL;
        struct wh_run_spec spec = {.cancel_fd = -1};
        if (c->network != network || c->state != CONTAINER_RUNNING || !c->box)
            continue;
        hosts = wh_calloc(WH_MAX_ENGINE_HOSTS, sizeof *hosts);
        engine_network_spec(c, &spec, hosts, WH_MAX_ENGINE_HOSTS, &keep);
        if (wh_container_write_hosts(c->box, &spec, &err) < 0)
            wh_log_warning("container %s: %s", c->name, wh_error_text(&err));
    }
}

/* ---- ports ---- */

static int listen_at(struct engine *e, enum wh_proxy_protocol protocol, const char *address, unsigned *port,
                     struct wh_error *err)
{
    wh_autoerror why = {0};
    int sock = wh_proxy_listen(protocol, address, port, &why);
    if (sock >= 0 || why.sys_errno != EACCES)
        return sock >= 0 ? sock : wh_error_move(err, &why);
    /* Ports below 1024 take a right on the machine. */
    wh_autojson *request = cJSON_CreateObject();
    wh_autojson *answer = NULL;
    wh_json_add_string(request, "type", "listen");
    wh_json_add_string(request, "protocol", protocol == WH_PROXY_UDP ? "udp" : "tcp");
    wh_json_add_string(request, "address", address);
    wh_json_add_int(request, "port", *port);
    return ask_launcher(e, request, NULL, 0, &sock, &answer, err) < 0 ? -1 : sock;
}

static void note_port(struct engine_container *c, unsigned inner, bool udp, const char *address,
                      unsigned outer)
{
    char number[16];
    cJSON *one = cJSON_CreateObject();
    (void)snprintf(number, sizeof number, "%u", inner);
    wh_json_add_string(one, "container", number);
    wh_json_add_string(one, "protocol", udp ? "udp" : "tcp");
    wh_json_add_string(one, "address", address);
    (void)snprintf(number, sizeof number, "%u", outer);
    wh_json_add_string(one, "host", number);
    cJSON_AddItemToArray(c->ports, one);
}

static int publish_at(struct engine_container *c, const char *address, unsigned *outer, unsigned inner,
                      bool udp, struct wh_error *err)
{
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)inner)};
    enum wh_proxy_protocol protocol = udp ? WH_PROXY_UDP : WH_PROXY_TCP;
    (void)inet_pton(AF_INET, c->address, &target.sin_addr);
    int sock = listen_at(c->engine, protocol, address, outer, err);
    if (sock < 0)
        return -1;
    if (wh_proxy_add(c->network->inward, c->tag, protocol, sock, &target, err) < 0)
        return -1;
    note_port(c, inner, udp, address, *outer);
    return 0;
}

/* Without an address it is published at all of IPv4, and of IPv6 where the machine has that. */
static int publish(struct engine_container *c, const cJSON *port, struct wh_error *err)
{
    const char *address = wh_json_string(port, "address");
    int64_t inner = wh_json_int(port, "container", 0);
    int64_t wanted = wh_json_int(port, "host", 0);
    bool udp = wh_streq(wh_json_string(port, "protocol"), "udp");
    if (inner < 1 || inner > 65535 || wanted < 0 || wanted > 65535)
        return wh_fail(err, WH_E_ARGUMENT, "a port is a number from 1 to 65535");
    unsigned outer = (unsigned)wanted;
    wh_autoerror why = {0};
    if (publish_at(c, address ? address : "0.0.0.0", &outer, (unsigned)inner, udp, &why) < 0) {
        if (why.sys_errno == EADDRINUSE)
            return wh_fail(err, WH_E_BUSY, "Bind for %s:%u failed: port is already allocated",
                           address ? address : "0.0.0.0", outer);
        return wh_error_move(err, &why);
    }
    if (!address)
        (void)publish_at(c, "::", &outer, (unsigned)inner, udp, NULL);
    return 0;
}

/* The machine's network is the container's: a port is where the container listens, or nowhere. */
static int publish_shared(struct engine_container *c, const cJSON *port, struct wh_error *err)
{
    int64_t inner = wh_json_int(port, "container", 0);
    int64_t outer = wh_json_int(port, "host", 0);
    if (outer != 0 && outer != inner)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       "the port %lld:%lld: containers share the machine's network here (%s), so a port "
                       "can't be mapped to another",
                       (long long)outer, (long long)inner,
                       c->network && c->network->why ? c->network->why : "--network host");
    note_port(c, (unsigned)inner, wh_streq(wh_json_string(port, "protocol"), "udp"), "0.0.0.0",
              (unsigned)inner);
    return 0;
}

struct listening {
    unsigned port;
    int sock;
};

static int listen_inside(void *data, struct wh_error *err)
{
    struct listening *l = data;
    l->sock = wh_proxy_listen(WH_PROXY_TCP, "127.0.0.1", &l->port, err);
    return l->sock < 0 ? -1 : 0;
}

/* What listens at the machine's loopback and the job was told of (a cache's URL, a proxy) is there for the
 * container, too. */
static int reach_loopback(struct engine_container *c, const cJSON *port, struct wh_error *err)
{
    struct engine *e = c->engine;
    struct listening l = {.sock = -1};
    if (!cJSON_IsNumber(port) || port->valuedouble < 1 || port->valuedouble > 65535)
        return wh_fail(err, WH_E_ARGUMENT, "a port is a number from 1 to 65535");
    l.port = (unsigned)port->valuedouble;
    struct sockaddr_in target = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)l.port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pthread_mutex_lock(&e->network_lock);
    if (!e->outward)
        e->outward = wh_proxy_new(-1, err);
    struct wh_proxy *outward = e->outward;
    pthread_mutex_unlock(&e->network_lock);
    if (!outward || wh_netns_run(c->netns, listen_inside, &l, err) < 0)
        return -1;
    return wh_proxy_add(outward, c->tag, WH_PROXY_TCP, l.sock, &target, err);
}

/* ---- members ---- */

static int take_place(struct engine_container *c, struct wh_error *err)
{
    struct engine_network *network = c->network;
    unsigned host = WH_NETWORK_FIRST_HOST;
    while (host <= WH_NETWORK_LAST_HOST && network->taken[host])
        host++;
    if (host > WH_NETWORK_LAST_HOST)
        return wh_fail(err, WH_E_LIMIT, "the network %s has no free address", network->name);
    network->taken[host] = true;
    c->host = host;
    if (!network->inward)
        network->inward = wh_proxy_new(network->netns, err);
    return network->inward ? 0 : -1;
}

static int join_own(struct engine_container *c, struct wh_error *err)
{
    struct engine *e = c->engine;
    pthread_mutex_lock(&e->network_lock);
    int n = take_place(c, err);
    c->tag = ++e->tags;
    pthread_mutex_unlock(&e->network_lock);
    c->netns = n < 0 ? -1 : wh_network_join(c->network->netns, c->network->gateway, c->host, err);
    if (c->netns < 0)
        return -1;
    uint32_t address = wh_network_address(c->network->gateway, c->host);
    pthread_mutex_lock(&e->lock);
    (void)inet_ntop(AF_INET, &address, c->address, sizeof c->address);
    engine_hosts_refresh(e, c->network);
    pthread_mutex_unlock(&e->lock);
    return 0;
}

static int join_network(struct engine_container *c, const char *name, struct wh_error *err)
{
    struct engine *e = c->engine;
    struct engine_network *network = engine_network_get(e, name, err);
    if (!network)
        return -1;
    pthread_mutex_lock(&e->lock);
    c->network = network;
    if (network->netns < 0) {
        (void)snprintf(c->address, sizeof c->address, "127.0.0.1");
        engine_hosts_refresh(e, network);
    }
    pthread_mutex_unlock(&e->lock);
    return network->netns < 0 ? 0 : join_own(c, err);
}

int engine_join(struct engine_container *c, struct wh_error *err)
{
    const char *name = wh_json_string(c->request, "network");
    const cJSON *port;
    int count = 0;
    c->ports = cJSON_CreateArray();
    if (wh_streq(name, "none"))
        return 0;
    if (name && !wh_streq(name, "host") && join_network(c, name, err) < 0)
        return -1;
    cJSON_ArrayForEach(port, wh_json_get(c->request, "ports"))
    {
        if (count++ == WH_MAX_ENGINE_PORTS)
            return wh_fail(err, WH_E_LIMIT, "a container can publish %d ports", WH_MAX_ENGINE_PORTS);
        if ((c->netns >= 0 ? publish(c, port, err) : publish_shared(c, port, err)) < 0)
            return -1;
    }
    const cJSON *loopback = c->netns >= 0 ? wh_json_get(c->request, "loopback") : NULL;
    cJSON_ArrayForEach(port, loopback)
    {
        if (count++ == WH_MAX_ENGINE_PORTS)
            return wh_fail(err, WH_E_LIMIT, "a container can reach %d ports of the machine",
                           WH_MAX_ENGINE_PORTS);
        if (reach_loopback(c, port, err) < 0)
            return -1;
    }
    return 0;
}

void engine_leave(struct engine_container *c)
{
    struct engine *e = c->engine;
    struct engine_network *network = c->network;
    if (c->netns >= 0) {
        wh_proxy_remove(network->inward, c->tag);
        if (e->outward)
            wh_proxy_remove(e->outward, c->tag);
    }
    pthread_mutex_lock(&e->network_lock);
    if (network && c->host > 0)
        network->taken[c->host] = false;
    c->host = 0;
    pthread_mutex_unlock(&e->network_lock);
    pthread_mutex_lock(&e->lock);
    c->network = NULL;
    c->address[0] = '\0';
    wh_close_fd(&c->netns);
    c->netns = -1;
    engine_hosts_refresh(e, network);
    pthread_mutex_unlock(&e->lock);
}
