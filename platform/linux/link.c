/* Links, addresses and routes: one rtnetlink request and its acknowledgement each. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wherry/platform/netns.h"

#define MAX_REQUEST 1024

struct request {
    _Alignas(struct nlmsghdr) char data[MAX_REQUEST];
    size_t len;
};

static void put(struct request *r, const void *data, size_t len)
{
    if (len > 0)
        memcpy(r->data + r->len, data, len);
    r->len = NLMSG_ALIGN(r->len + len); /* all that is put is smaller than the buffer by far */
}

static void put_attribute(struct request *r, unsigned short type, const void *data, size_t len)
{
    const struct rtattr head = {.rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = type};
    put(r, &head, sizeof head);
    put(r, data, len);
}

static void put_text(struct request *r, unsigned short type, const char *text)
{
    put_attribute(r, type, text, strnlen(text, WH_MAX_LINK_NAME) + 1);
}

static size_t begin(struct request *r, unsigned short type)
{
    size_t at = r->len;
    put_attribute(r, type, NULL, 0);
    return at;
}

static void end(struct request *r, size_t at)
{
    const unsigned short len = (unsigned short)(r->len - at);
    memcpy(r->data + at, &len, sizeof len); /* rta_len is its first field */
}

static struct request request_of(unsigned short type, unsigned short flags, const void *body, size_t len)
{
    struct request r = {.len = 0};
    const struct nlmsghdr head = {.nlmsg_type = type,
                                  .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags)};
    put(&r, &head, sizeof head);
    put(&r, body, len);
    return r;
}

/* The kernel's answer as an errno; -1: no answer. */
static int ask(struct request *r)
{
    const unsigned len = (unsigned)r->len;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    wh_autoclose int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    memcpy(r->data, &len, sizeof len); /* nlmsg_len is its first field */
    if (sock < 0 || sendto(sock, r->data, r->len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return errno;
    _Alignas(struct nlmsghdr) char answer[4096];
    ssize_t got = recv(sock, answer, sizeof answer, 0);
    const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
    if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || head->nlmsg_type != NLMSG_ERROR)
        return EPROTO;
    const struct nlmsgerr *said = NLMSG_DATA(head);
    return -said->error;
}

static int tell(struct request *r, struct wh_error *err, const char *what, const char *name)
{
    errno = ask(r);
    if (errno == EEXIST)
        return wh_fail(err, WH_E_EXISTS, "%s %s: it exists already", what, name);
    return errno == 0 ? 0 : wh_fail_errno(err, "%s %s", what, name);
}

static int index_of(const char *name, struct wh_error *err)
{
    unsigned number = if_nametoindex(name);
    return number > 0 ? (int)number : wh_fail_errno(err, "find the link %s", name);
}

int wh_link_up(const char *name, struct wh_error *err)
{
    int number = index_of(name, err);
    if (number < 0)
        return -1;
    const struct ifinfomsg info = {.ifi_index = number, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct request r = request_of(RTM_NEWLINK, 0, &info, sizeof info);
    return tell(&r, err, "bring up the link", name);
}

int wh_link_add_bridge(const char *name, struct wh_error *err)
{
    const struct ifinfomsg info = {.ifi_index = 0};
    struct request r = request_of(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof info);
    put_text(&r, IFLA_IFNAME, name);
    size_t kind = begin(&r, IFLA_LINKINFO);
    put_text(&r, IFLA_INFO_KIND, "bridge");
    end(&r, kind);
    return tell(&r, err, "make the bridge", name);
}

int wh_link_add_veth(const char *name, const char *peer, int peer_netns, struct wh_error *err)
{
    const struct ifinfomsg info = {.ifi_index = 0};
    const unsigned there = (unsigned)peer_netns;
    struct request r = request_of(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof info);
    put_text(&r, IFLA_IFNAME, name);
    size_t link = begin(&r, IFLA_LINKINFO);
    put_text(&r, IFLA_INFO_KIND, "veth");
    size_t data = begin(&r, IFLA_INFO_DATA);
    size_t other = begin(&r, VETH_INFO_PEER);
    put(&r, &info, sizeof info);
    put_text(&r, IFLA_IFNAME, peer);
    put_attribute(&r, IFLA_NET_NS_FD, &there, sizeof there);
    end(&r, other);
    end(&r, data);
    end(&r, link);
    return tell(&r, err, "make the link", name);
}

int wh_link_set_master(const char *name, const char *master, struct wh_error *err)
{
    int number = index_of(name, err);
    int bridge = number < 0 ? -1 : index_of(master, err);
    if (bridge < 0)
        return -1;
    const struct ifinfomsg info = {.ifi_index = number};
    struct request r = request_of(RTM_NEWLINK, 0, &info, sizeof info);
    put_attribute(&r, IFLA_MASTER, &bridge, sizeof bridge);
    return tell(&r, err, "join the bridge with", name);
}

int wh_link_add_address(const char *name, uint32_t address, unsigned prefix, struct wh_error *err)
{
    int number = index_of(name, err);
    if (number < 0)
        return -1;
    const struct ifaddrmsg body = {
        .ifa_family = AF_INET, .ifa_prefixlen = (unsigned char)prefix, .ifa_index = (unsigned)number};
    struct request r = request_of(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
    put_attribute(&r, IFA_LOCAL, &address, sizeof address);
    put_attribute(&r, IFA_ADDRESS, &address, sizeof address);
    return tell(&r, err, "give an address to", name);
}

int wh_link_add_default_route(uint32_t gateway, struct wh_error *err)
{
    const struct rtmsg body = {.rtm_family = AF_INET,
                               .rtm_table = RT_TABLE_MAIN,
                               .rtm_protocol = RTPROT_STATIC,
                               .rtm_scope = RT_SCOPE_UNIVERSE,
                               .rtm_type = RTN_UNICAST};
    struct request r = request_of(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
    put_attribute(&r, RTA_GATEWAY, &gateway, sizeof gateway);
    return tell(&r, err, "set the route to", "the network's gateway");
}
