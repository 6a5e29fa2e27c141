/* The environment of our own processes that speak with the network: a plain one, with what says how the
 * network is reached. */
#ifndef WH_NET_CHILD_ENV_H
#define WH_NET_CHILD_ENV_H

/* Proxies, certificates, log level, time zone and what tests set, as they are here; and the variables of the
 * NULL-terminated list more (may be NULL). Owned: wh_strv_free(). */
char **wh_net_child_env(const char *const *more);

#endif
