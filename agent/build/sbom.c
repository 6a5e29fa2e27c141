/* A list of the packages in an image as an SPDX 2.3 document, from the databases of dpkg (Debian, Ubuntu,
 * distroless) and apk (Alpine). The databases are the image's, so hostile: bounded, and read below its root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "build/output.h"

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"

#define MAX_DATABASE ((size_t)64 << 20)
#define MAX_PACKAGES 50000
#define MAX_FIELD 1024
#define DPKG "var/lib/dpkg/status"
#define DPKG_PARTS "var/lib/dpkg/status.d" /* distroless: a file a package */
#define APK "lib/apk/db/installed"
#define RPM "var/lib/rpm/rpmdb.sqlite"

struct package {
    char *name, *version, *arch, *license;
    bool absent; /* removed, its configuration stays */
};

struct list {
    cJSON *packages, *relations;
    const char *kind;   /* "deb", "apk" */
    const char *vendor; /* of package URLs; owned by the caller */
    size_t n;
};

static void package_clear(struct package *p)
{
    free(p->name);
    free(p->version);
    free(p->arch);
    free(p->license);
    *p = (struct package){0};
}

/* os-release's ID, "debian" where it says nothing. */
static char *vendor_of(int root, const char *fallback)
{
    wh_autostr text = {0};
    wh_autoclose int fd = wh_open_in_root(root, "etc/os-release", O_RDONLY, 0, false, NULL);
    if (fd >= 0 && wh_read_fd(fd, 64 << 10, "os-release", &text, NULL) == 0) {
        struct wh_view rest = {wh_str_text(&text), text.len}, line;
        for (bool more = true; more;) {
            more = wh_view_split(rest, '\n', &line, &rest);
            if (line.len > 3 && memcmp(line.data, "ID=", 3) == 0) {
                struct wh_view id = {line.data + 3, line.len - 3};
                if (id.len > 2 && id.data[0] == '"')
                    id = (struct wh_view){id.data + 1, id.len - 2};
                return wh_strndup(id.data, WH_MIN(id.len, (size_t)64));
            }
        }
    }
    return wh_strdup(fallback);
}

static int add(struct list *l, struct package *p, struct wh_error *err)
{
    if (!p->name || !p->version || p->absent)
        return 0;
    if (++l->n > MAX_PACKAGES)
        return wh_fail(err, WH_E_LIMIT, "the image's package databases name more than %d packages",
                       MAX_PACKAGES);
    wh_autofree char *id = wh_printf("SPDXRef-Package-%s-%zu", l->kind, l->n);
    wh_autofree char *purl = wh_printf("pkg:%s/%s/%s@%s%s%s", l->kind, l->vendor, p->name, p->version,
                                       p->arch ? "?arch=" : "", p->arch ? p->arch : "");
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "name", p->name);
    wh_json_add_string(json, "SPDXID", id);
    wh_json_add_string(json, "versionInfo", p->version);
    wh_json_add_string(json, "supplier", "NOASSERTION");
    wh_json_add_string(json, "downloadLocation", "NOASSERTION");
    cJSON_AddBoolToObject(json, "filesAnalyzed", false);
    wh_json_add_string(json, "licenseConcluded", "NOASSERTION");
    wh_json_add_string(json, "licenseDeclared", p->license ? p->license : "NOASSERTION");
    cJSON *ref = cJSON_CreateObject();
    wh_json_add_string(ref, "referenceCategory", "PACKAGE-MANAGER");
    wh_json_add_string(ref, "referenceType", "purl");
    wh_json_add_string(ref, "referenceLocator", purl);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "externalRefs"), ref);
    cJSON_AddItemToArray(l->packages, json);
    cJSON *relation = cJSON_CreateObject();
    wh_json_add_string(relation, "spdxElementId", "SPDXRef-DocumentRoot");
    wh_json_add_string(relation, "relatedSpdxElement", id);
    wh_json_add_string(relation, "relationshipType", "CONTAINS");
    cJSON_AddItemToArray(l->relations, relation);
    return 0;
}

static void set(char **out, struct wh_view value)
{
    if (*out || value.len == 0 || value.len > MAX_FIELD)
        return;
    *out = wh_view_dup(value);
}

/* One field of a paragraph; apk's have one letter. */
static void field(struct package *p, bool apk, struct wh_view name, struct wh_view value)
{
    if (wh_view_eq(name, apk ? "P" : "Package"))
        set(&p->name, value);
    else if (wh_view_eq(name, apk ? "V" : "Version"))
        set(&p->version, value);
    else if (wh_view_eq(name, apk ? "A" : "Architecture"))
        set(&p->arch, value);
    else if (apk && wh_view_eq(name, "L"))
        set(&p->license, value);
    else if (!apk && wh_view_eq(name, "Status"))
        p->absent = value.len < 9 || memcmp(value.data + value.len - 9, "installed", 9) != 0 ||
                    (value.len >= 13 && memcmp(value.data + value.len - 13, "not-installed", 13) == 0);
}

/* Paragraphs of `name: value` lines, set apart by empty ones. */
static int read_paragraphs(struct list *l, bool apk, struct wh_view rest, struct wh_error *err)
{
    struct package p = {0};
    int status = 0;
    for (bool more = true; more && status == 0;) {
        struct wh_view line, name, value;
        more = wh_view_split(rest, '\n', &line, &rest);
        if (line.len == 0) {
            status = add(l, &p, err);
            package_clear(&p);
        } else if (line.data[0] != ' ' && line.data[0] != '\t' && wh_view_split(line, ':', &name, &value)) {
            field(&p, apk, name, wh_view_trim(value));
        }
    }
    if (status == 0)
        status = add(l, &p, err);
    package_clear(&p);
    return status;
}

static int read_database(struct list *l, int root, const char *path, bool apk, struct wh_error *err)
{
    wh_autostr text = {0};
    wh_autoclose int fd = wh_open_in_root(root, path, O_RDONLY | O_NONBLOCK, 0, false, NULL);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    if (wh_read_fd(fd, MAX_DATABASE, path, &text, err) < 0)
        return -1;
    return read_paragraphs(l, apk, (struct wh_view){wh_str_text(&text), text.len}, err);
}

static int read_parts(struct list *l, int root, struct wh_error *err)
{
    int fd = wh_open_in_root(root, DPKG_PARTS, O_RDONLY | O_DIRECTORY, 0, false, NULL);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        wh_close_fd(&fd);
        return 0;
    }
    char **names = NULL;
    for (const struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.' && !wh_ends_with(e->d_name, ".md5sums") && wh_strv_len(names) < MAX_PACKAGES)
            wh_strv_add(&names, e->d_name);
    (void)closedir(dir);
    int status = 0;
    for (char **name = names; name && *name && status == 0; name++) {
        wh_autofree char *path = wh_path_join(DPKG_PARTS, *name);
        status = read_database(l, root, path, false, err);
    }
    wh_strv_free(names);
    return status;
}

static int read_all(struct list *l, int root, struct wh_error *err)
{
    wh_autofree char *debian = vendor_of(root, "debian"), *alpine = vendor_of(root, "alpine");
    l->kind = "deb";
    l->vendor = debian;
    if (read_database(l, root, DPKG, false, err) < 0 || read_parts(l, root, err) < 0)
        return -1;
    l->kind = "apk";
    l->vendor = alpine;
    if (read_database(l, root, APK, true, err) < 0)
        return -1;
    wh_autoclose int rpm = wh_open_in_root(root, RPM, O_PATH, 0, false, NULL);
    return rpm < 0
               ? 0
               : wh_fail(
                     err, WH_E_UNSUPPORTED,
                     "sbom: this image's packages are RPM's, whose database wherry's builder can't read yet");
}

cJSON *sbom_make(struct build *b, int root, const char *name, struct wh_error *err)
{
    char created[40];
    struct list l = {.packages = cJSON_CreateArray(), .relations = cJSON_CreateArray()};
    cJSON *top = cJSON_CreateObject();
    wh_json_add_string(top, "name", name);
    wh_json_add_string(top, "SPDXID", "SPDXRef-DocumentRoot");
    wh_json_add_string(top, "downloadLocation", "NOASSERTION");
    cJSON_AddBoolToObject(top, "filesAnalyzed", false);
    wh_json_add_string(top, "primaryPackagePurpose", "CONTAINER");
    cJSON_AddItemToArray(l.packages, top);
    if (root >= 0 && read_all(&l, root, err) < 0) {
        cJSON_Delete(l.packages);
        cJSON_Delete(l.relations);
        return NULL;
    }
    cJSON *describes = cJSON_CreateObject();
    wh_json_add_string(describes, "spdxElementId", "SPDXRef-DOCUMENT");
    wh_json_add_string(describes, "relatedSpdxElement", "SPDXRef-DocumentRoot");
    wh_json_add_string(describes, "relationshipType", "DESCRIBES");
    cJSON_AddItemToArray(l.relations, describes);
    wh_time_iso(b->began / 1000000000 * 1000000000, 0, created);
    cJSON *json = cJSON_CreateObject();
    wh_json_add_string(json, "spdxVersion", "SPDX-2.3");
    wh_json_add_string(json, "dataLicense", "CC0-1.0");
    wh_json_add_string(json, "SPDXID", "SPDXRef-DOCUMENT");
    wh_json_add_string(json, "name", name);
    wh_autofree char *space = wh_printf("https://spdx.org/spdxdocs/wherry-%lld", (long long)b->began);
    wh_json_add_string(json, "documentNamespace", space);
    cJSON *info = cJSON_AddObjectToObject(json, "creationInfo");
    wh_json_add_string(info, "created", created);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(info, "creators"),
                         cJSON_CreateString("Tool: wherry-" WH_VERSION));
    cJSON_AddItemToObject(json, "packages", l.packages);
    cJSON_AddItemToObject(json, "relationships", l.relations);
    return json;
}
