/* The kernel's routing messages (rtnetlink). */
#include "wherry/platform/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int wh_network_watch(struct wh_error *err)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                  .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                               RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        wh_fail_errno(err, "watch the network");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static void take_gone(const struct nlmsghdr *message, struct wh_network_change *out)
{
    const struct ifaddrmsg *address = NLMSG_DATA(message);
    if (message->nlmsg_len < NLMSG_LENGTH(sizeof *address) || out->ngone == WH_MAX_NETWORK_GONE)
        return;
    int left = (int)IFA_PAYLOAD(message);
    size_t need = address->ifa_family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
    for (const struct rtattr *a = IFA_RTA(address); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        bool own = a->rta_type == (address->ifa_family == AF_INET ? IFA_LOCAL : IFA_ADDRESS);
        if (own && RTA_PAYLOAD(a) >= need &&
            inet_ntop(address->ifa_family, RTA_DATA(a), out->gone[out->ngone], WH_NETWORK_ADDRESS_CHARS)) {
            out->ngone++;
            return;
        }
    }
}

static bool is_up(const struct nlmsghdr *message)
{
    const struct ifinfomsg *link = NLMSG_DATA(message);
    return message->nlmsg_len >= NLMSG_LENGTH(sizeof *link) && (link->ifi_flags & IFF_RUNNING) &&
           !(link->ifi_flags & IFF_LOOPBACK);
}

static void take(const struct nlmsghdr *message, struct wh_network_change *out)
{
    switch (message->nlmsg_type) {
    case RTM_NEWADDR:
    case RTM_NEWROUTE:
        out->better = true;
        break;
    case RTM_NEWLINK:
        out->better |= is_up(message);
        break;
    case RTM_DELADDR:
        take_gone(message, out);
        break;
    default:
        break;
    }
}

void wh_network_read(int fd, struct wh_network_change *out)
{
    _Alignas(struct nlmsghdr) char buf[16384];
    memset(out, 0, sizeof *out);
    for (;;) {
        ssize_t got = recv(fd, buf, sizeof buf, 0);
        if (got <= 0) {
            if (got < 0 && errno == ENOBUFS) { /* more than the kernel kept for us */
                out->better = true;
                continue;
            }
            return;
        }
        unsigned left = (unsigned)got;
        for (const struct nlmsghdr *m = (const struct nlmsghdr *)buf; NLMSG_OK(m, left);
             m = NLMSG_NEXT(m, left))
            take(m, out);
    }
}
