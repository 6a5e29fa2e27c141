/* The automaton is a trie whose states know where to go on after a mismatch. Lines that hold no secret are
 * the rule, so a scan that stands at the root skips by a bitmap of the first two bytes of all patterns and
 * touches no state. */
#include "automaton.h"

#include "wherry/base/secret.h"

struct state {
    uint32_t fail;    /* the state of the longest proper suffix */
    uint32_t edges;   /* first in targets[], labels[] */
    uint32_t longest; /* bytes of the longest pattern that ends here; 0: none */
    uint32_t nedges;
};

struct wh_automaton {
    struct state *states;
    uint32_t *targets;
    unsigned char *labels;
    uint32_t root[256];
    uint64_t pairs[65536 / 64]; /* by first byte * 256 + second */
    uint64_t singles[256 / 64]; /* patterns of one byte */
};

/* The trie while it grows: children as linked lists. */
struct trie_node {
    uint32_t child, next; /* 0: none (0 is the root, which is nobody's child) */
    uint32_t end;         /* length of the pattern that ends here */
    unsigned char label;
};

struct trie {
    struct trie_node *nodes;
    uint32_t count;
    size_t cap;
    uint32_t root_child[256]; /* spares the long list of the root */
};

static uint32_t trie_add_node(struct trie *t, unsigned char label)
{
    if (t->count == t->cap) {
        t->cap = t->cap * 2;
        t->nodes = wh_reallocarray(t->nodes, t->cap, sizeof *t->nodes);
    }
    t->nodes[t->count] = (struct trie_node){.label = label};
    return t->count++;
}

static uint32_t trie_child(struct trie *t, uint32_t at, unsigned char label)
{
    if (at == 0 && t->root_child[label])
        return t->root_child[label];
    if (at != 0) {
        for (uint32_t c = t->nodes[at].child; c; c = t->nodes[c].next) {
            if (t->nodes[c].label == label)
                return c;
        }
    }
    uint32_t c = trie_add_node(t, label);
    t->nodes[c].next = t->nodes[at].child;
    t->nodes[at].child = c;
    if (at == 0)
        t->root_child[label] = c;
    return c;
}

static void set_bit(uint64_t *bits, unsigned i)
{
    bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static bool get_bit(const uint64_t *bits, unsigned i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static void note_start(struct wh_automaton *a, struct wh_view p)
{
    unsigned first = (unsigned char)p.data[0];
    if (p.len > 1) {
        set_bit(a->pairs, first * 256 + (unsigned char)p.data[1]);
        return;
    }
    set_bit(a->singles, first);
    for (unsigned second = 0; second < 256; second++)
        set_bit(a->pairs, first * 256 + second);
}

static uint32_t next_state(const struct wh_automaton *a, uint32_t at, unsigned char c)
{
    while (at != 0) {
        const struct state *s = &a->states[at];
        const unsigned char *labels = a->labels + s->edges;
        for (uint32_t i = 0; i < s->nedges; i++) {
            if (labels[i] == c)
                return a->targets[s->edges + i];
        }
        at = s->fail;
    }
    return a->root[c];
}

/* Lays the trie's edges side by side, in breadth-first order, and sets the links for mismatches on the way: a
 * state's link is known once all states nearer to the root are done. */
static void flatten(struct wh_automaton *a, const struct trie *t)
{
    uint32_t *queue = wh_reallocarray(NULL, t->count, sizeof *queue);
    uint32_t head = 0, tail = 0, edges = 0;
    queue[tail++] = 0;
    while (head < tail) {
        uint32_t at = queue[head++];
        struct state *s = &a->states[at];
        s->edges = edges;
        for (uint32_t c = t->nodes[at].child; c; c = t->nodes[c].next) {
            unsigned char label = t->nodes[c].label;
            a->labels[edges] = label;
            a->targets[edges++] = c;
            s->nedges++;
            a->states[c].fail = at == 0 ? 0 : next_state(a, s->fail, label);
            a->states[c].longest = t->nodes[c].end ? t->nodes[c].end : a->states[a->states[c].fail].longest;
            if (at == 0)
                a->root[label] = c;
            queue[tail++] = c;
        }
    }
    free(queue);
}

struct wh_automaton *wh_automaton_new(const struct wh_view *patterns, size_t count)
{
    struct wh_automaton *a = wh_calloc(1, sizeof *a);
    struct trie t = {.cap = 256};
    t.nodes = wh_reallocarray(NULL, t.cap, sizeof *t.nodes);
    trie_add_node(&t, 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t at = 0;
        for (size_t k = 0; k < patterns[i].len; k++)
            at = trie_child(&t, at, (unsigned char)patterns[i].data[k]);
        t.nodes[at].end = (uint32_t)patterns[i].len;
        note_start(a, patterns[i]);
    }
    a->states = wh_calloc(t.count, sizeof *a->states);
    a->targets = wh_reallocarray(NULL, t.count, sizeof *a->targets);
    a->labels = wh_malloc(t.count);
    flatten(a, &t);
    wh_wipe(t.nodes, t.count * sizeof *t.nodes);
    free(t.nodes);
    return a;
}

void wh_automaton_free(struct wh_automaton *a)
{
    if (!a)
        return;
    free(a->states);
    free(a->targets);
    free(a->labels);
    free(a);
}

/* The next place from i on where a pattern may begin. */
static size_t skip(const struct wh_automaton *a, const unsigned char *p, size_t len, size_t i)
{
    while (i + 1 < len && !get_bit(a->pairs, p[i] * 256u + p[i + 1]))
        i++;
    if (i + 1 == len && !get_bit(a->singles, p[i]))
        i++;
    return i;
}

void wh_automaton_scan(const struct wh_automaton *a, const char *text, size_t len, wh_automaton_hit hit,
                       void *arg)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t at = 0;
    for (size_t i = 0; i < len; i++) {
        if (at == 0) {
            i = skip(a, p, len, i);
            if (i >= len)
                break;
        }
        at = next_state(a, at, p[i]);
        uint32_t longest = a->states[at].longest;
        if (longest > 0)
            hit(arg, i + 1 - longest, i + 1);
    }
}
