/* Image references and platforms (builder.md §6 platform normalisation, §7 names). */
#ifndef WH_OCI_REFERENCE_H
#define WH_OCI_REFERENCE_H

#include "wherry/base/digest.h"

#define WH_MAX_REF_TEXT 4096 /* bytes of a whole reference as given */
#define WH_MAX_REF_NAME 255  /* bytes of host and path, as the distribution's grammar says */
#define WH_MAX_REF_TAG 128

/* A normalised reference: "alpine" is host "docker.io", path "library/alpine", tag "latest". */
struct wh_ref {
    char *host; /* owned; with port if any */
    char *path; /* owned; the repository */
    char *tag;  /* owned; NULL if only a digest was given */
    bool has_digest;
    struct wh_digest digest; /* of the manifest or index, if has_digest */
};
void wh_ref_clear(struct wh_ref *ref);
#define wh_autoref __attribute__((cleanup(wh_ref_clear))) struct wh_ref
void wh_ref_copy(struct wh_ref *to, const struct wh_ref *from); /* to is cleared first */

/* Parses and normalises; tag "latest" where neither tag nor digest is given. WH_E_PARSE names the text and
 * what is wrong with it. */
int wh_ref_parse(const char *text, struct wh_ref *out, struct wh_error *err);
/* Owned texts: "docker.io/library/alpine:3.19@sha256:..", and as a person writes it: "alpine:3.19". */
char *wh_ref_text(const struct wh_ref *ref);
char *wh_ref_familiar(const struct wh_ref *ref);
/* The host that the API is asked at: registry-1.docker.io for docker.io. Borrowed from ref. */
const char *wh_ref_api_host(const struct wh_ref *ref);
bool wh_ref_same_repository(const struct wh_ref *a, const struct wh_ref *b);
/* A host (with or without port) of this machine: localhost, 127.0.0.0/8, [::1]. Registries there are asked by
 * plain HTTP. */
bool wh_host_is_loopback(const char *host);

/* ---- platforms ---- */
struct wh_platform {
    char os[32];
    char arch[32];
    char variant[32];    /* "" if none */
    char os_version[64]; /* "" if none */
};
/* "linux/arm64/v8", "arm64", "linux": what is left out is this machine's. Normalised. */
int wh_platform_parse(const char *text, struct wh_platform *out, struct wh_error *err);
/* x86_64 = amd64, aarch64 and arm64/v8 = arm64, armhf = arm/v7, armel = arm/v6, amd64/v1 = amd64. */
void wh_platform_normalise(struct wh_platform *p);
void wh_platform_host(struct wh_platform *out);
/* "linux/arm/v7"; buf holds at least 100 bytes; returns buf. */
char *wh_platform_text(const struct wh_platform *p, char buf[100]);
bool wh_platform_eq(const struct wh_platform *a, const struct wh_platform *b);
/* How well an image for `have` serves `want`: 0 is best, larger is worse, negative is not at all (amd64 takes
 * lower levels, then 386; arm64 takes arm v8 to v5; arm v7 takes v6, v5). Both normalised. */
int wh_platform_rank(const struct wh_platform *want, const struct wh_platform *have);

#endif
