/* Memory and ownership. Allocation never returns NULL: a process that is out of memory ends with a message
 * (each job and each build is a process of its own, and every size that comes from outside is bounded by a
 * named limit first). */
#ifndef WH_BASE_MEM_H
#define WH_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define WH_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WH_MIN(a, b) ((a) < (b) ? (a) : (b))
#define WH_MAX(a, b) ((a) > (b) ? (a) : (b))

void *wh_malloc(size_t size);
void *wh_calloc(size_t count, size_t size);
void *wh_realloc(void *ptr, size_t size);
/* realloc to count * size with an overflow check. */
void *wh_reallocarray(void *ptr, size_t count, size_t size);
char *wh_strdup(const char *text);              /* NULL gives NULL */
char *wh_strndup(const char *text, size_t len); /* always terminated */
char *wh_printf(const char *fmt, ...) WH_PRINTF(1, 2);
char *wh_vprintf(const char *fmt, va_list args) WH_PRINTF(1, 0);

/* Cleanup attributes for locals: freed on every path out of the scope. */
void wh_free_ptr(void *ptr_to_ptr);
void wh_close_fd(const int *fd);
void wh_free_strv_ptr(char ***strv);
#define wh_autofree __attribute__((cleanup(wh_free_ptr)))
#define wh_autoclose __attribute__((cleanup(wh_close_fd)))
#define wh_autostrv __attribute__((cleanup(wh_free_strv_ptr)))

/* Hands an owned pointer on: returns it and leaves NULL behind. */
#define wh_steal(ptr_to_ptr)                                                                                 \
    ({                                                                                                       \
        __auto_type wh_steal_from_ = (ptr_to_ptr);                                                           \
        __auto_type wh_steal_value_ = *wh_steal_from_;                                                       \
        *wh_steal_from_ = NULL;                                                                              \
        wh_steal_value_;                                                                                     \
    })
/* The same for a descriptor: leaves -1 behind. */
int wh_steal_fd(int *fd);

#endif
