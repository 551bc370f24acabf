/* The fuzzer of the DTLS engine: hostile datagrams, damaged sessions and operations in any order.
 *
 * Never may it crash, leak, let a stranger in, or keep an established session from its next genuine record.
 * Usage: fuzz SEED SECONDS. A run is decided by its seed, but for how far it comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "world.h"

static double ends_at;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static int goes_on(void) {
    return now_s() < ends_at;
}

/* --- Handshakes, one datagram of which comes changed too --------------------------------------------------- */

typedef struct {
    size_t at, cut, byte;
    uint8_t flip;
    int how; /* 0 cut off, 1 a byte flipped, 2 anything, 3 nothing, 4 doubled, 5 one that comes later first */
} change;

static void inject(pair *peers, size_t index, const datagram *next, void *context) {
    const change *wanted = context;
    datagram other = *next;
    if (index != wanted->at) {
        return;
    }
    switch (wanted->how) {
    case 0: other.length = wanted->cut < other.length ? wanted->cut : other.length; break;
    case 1: other.bytes[wanted->byte % (other.length + 1)] ^= wanted->flip; break;
    case 2: mutate(&other); break;
    case 5:
        if (peers->next < peers->queued) {
            other = peers->queue[peers->next];
        }
        break;
    default: break;
    }
    if (wanted->how != 3) {
        deliver(peers, other.bytes, other.length, other.to_server);
    }
}

static size_t handshake_with(int kind, int cid, change *wanted) {
    static pair peers;
    pair_open(&peers, kind, cid);
    shake_hands(&peers, inject, wanted);
    if (peers.server_done && peers.client_done) {
        exchange(&peers);
    }
    CHECK(wanted->how != 3 || (peers.server_done && peers.client_done) == has_key(kind), "untouched");
    size_t datagrams = peers.queued;
    pair_close(&peers);
    return datagrams;
}

/* Every datagram cut off at every length and with every byte flipped; for certificates a sample of it. */
static unsigned long handshakes_by_the_byte(int kind) {
    unsigned long count = 0;
    change wanted = {.how = 3};
    size_t datagrams = handshake_with(kind, 1, &wanted);
    for (size_t at = 0; at < datagrams; at++) {
        for (size_t byte = 0; byte < 1200 && goes_on(); byte += kind == PSK ? 1 : 1 + below(60)) {
            for (int how = 0; how < 2; how++, count++) {
                wanted = (change) {at, byte, byte, (uint8_t) (1 + below(255)), how};
                handshake_with(kind, (int) below(2), &wanted);
            }
            if (kind == PSK && byte > 200) {
                break; /* none is longer */
            }
        }
    }
    return count;
}

static unsigned long handshakes_by_chance(void) {
    unsigned long count = 0;
    /* Arithmetic with curves is slow: fewer of those. */
    static const int OFTEN[] = {PSK, PSK, PSK, PSK, WRONG_PSK, WRONG_PSK, UNKNOWN_PSK, ECDSA, STRANGER};
    for (; goes_on(); count++) {
        int kind = OFTEN[below(9)];
        change wanted = {below(12), below(1200), below(1200), (uint8_t) (1 + below(255)), (int) below(6)};
        handshake_with(kind, (int) below(2), &wanted);
    }
    return count;
}

/* --- An established session ---------------------------------------------------------------------------- */

#define KEPT 64
static datagram kept[KEPT]; /* of handshakes and sessions gone by */

static void keep(pair *peers, size_t index, const datagram *next, void *context) {
    (void) peers, (void) context;
    kept[index % (KEPT / 2)] = *next;
}

static void hostile(const pair *peers, datagram *out) {
    uint8_t message[64];
    switch (below(5)) {
    case 0:
        out->length = below(MAX_DATAGRAM + 1);
        random_bytes(out->bytes, out->length);
        break;
    case 1: *out = kept[below(KEPT)]; break;
    case 2: /* a whole one changed: the genuine one is lost, as on the way it may be */
        seal(out->to_server ? peers->client : peers->server, 1 + below(60), message, out);
        kept[KEPT / 2 + below(KEPT / 2)] = *out;
        out->bytes[below((uint32_t) out->length)] ^= (uint8_t) (1 << below(8));
        break;
    default:
        *out = kept[below(KEPT)];
        mutate(out);
    }
}

static void attack(pair *peers, int to_server) {
    uint8_t opened[MAX_DATAGRAM];
    int flags = 0;
    datagram evil = {.to_server = to_server};
    hostile(peers, &evil);
    long result = open_datagram(to_server ? peers->server : peers->client, evil.bytes, evil.length, opened, &flags);
    CHECK(result >= 0, "a session is broken by what is not authentic");
    CHECK(result == 0 || flags & 1, "a message of nobody");
    CHECK((flags & 4) == 0, "a session is closed by what is not authentic");
}

/* Zeros and nonsense of every length. */
static unsigned long lengths(pair *peers) {
    static const uint8_t zeros[MAX_DATAGRAM];
    uint8_t noise[MAX_DATAGRAM], opened[MAX_DATAGRAM];
    int flags;
    for (size_t length = 0; length <= MAX_DATAGRAM; length++) {
        random_bytes(noise, length);
        if (length > 0) {
            noise[0] = (uint8_t) (20 + below(6));
        }
        CHECK(open_datagram(peers->server, zeros, length, opened, &flags) == 0 && flags == 0, "zeros");
        CHECK(open_datagram(peers->server, noise, length, opened, &flags) == 0 && flags == 0, "noise");
        CHECK(greet(peers->server, noise, length) < 0, "a hello to an established session");
        if (length % 64 == 0) {
            exchange(peers);
        }
    }
    return 3 * MAX_DATAGRAM;
}

static void sleep_and_wake(pair *peers) {
    uint8_t frozen[MAX_FROZEN], again[MAX_FROZEN], counters[24];
    long length = dtls_freeze(peers->server, frozen, sizeof frozen);
    CHECK(length > 0, "freeze");
    dtls_counters(peers->server, counters);
    CHECK(dtls_session_recycle(peers->server) == 0, "recycle");
    CHECK(dtls_thaw(peers->server, frozen, (size_t) length, counters) == 0, "thaw");
    CHECK(dtls_freeze(peers->server, again, sizeof again) == length, "freeze again");
    CHECK(memcmp(frozen, again, (size_t) length) == 0, "a thawed session freezes to something else");
}

static unsigned long established(int kind, int cid) {
    static pair peers;
    unsigned long count = 0;
    pair_open(&peers, kind, cid);
    shake_hands(&peers, keep, NULL);
    CHECK(peers.server_done && peers.client_done, "a handshake");
    if (below(2)) {
        exchange(&peers);
    }
    for (int turn = 0; turn < 400 && goes_on(); turn++, count++) {
        attack(&peers, (int) below(2));
        if (below(10) == 0) {
            sleep_and_wake(&peers);
        }
        exchange(&peers);
    }
    if (below(4) == 0) {
        count += lengths(&peers);
    }
    pair_close(&peers);
    return count;
}

/* --- Damaged sessions from a disk ----------------------------------------------------------------------- */

static void thaw_damaged(const uint8_t *frozen, size_t length, const uint8_t *counters, const datagram *record) {
    uint8_t *block = malloc(length), out[MAX_DATAGRAM], message[32], id[32];
    datagram sealed;
    int flags;
    if (length > 0) {
        memcpy(block, frozen, length);
    }
    for (int client = 0; client < 2; client++) {
        dtls_session *session = dtls_session_new(client ? client_configs[PSK] : server_config);
        if (dtls_thaw(session, block, length, counters) == 0) {
            seal(session, sizeof message, message, &sealed);
            open_datagram(session, record->bytes, record->length, out, &flags);
            dtls_freeze(session, out, MAX_FROZEN);
        } else {
            CHECK(dtls_session_recycle(session) == 0, "recycle");
        }
        if (dtls_session_offer(session, block, length) == 0 && client) {
            dtls_session_recycle(session);
            dtls_session_offer(session, block, length);
            dtls_advance(session, NULL, 0);
        }
        CHECK(dtls_frozen_id(block, length, id) <= sizeof id, "an id");
        dtls_session_free(session);
    }
    free(block);
}

static unsigned long damaged(int kind, int cid) {
    static pair peers;
    uint8_t frozen[MAX_FROZEN], counters[24], message[32];
    unsigned long count = 0;
    datagram record;
    pair_open(&peers, kind, cid);
    shake_hands(&peers, NULL, NULL);
    CHECK(peers.server_done && peers.client_done, "a handshake");
    for (int client = 0; client < 2; client++) {
        dtls_session *whole = client ? peers.client : peers.server;
        long length = dtls_freeze(whole, frozen, sizeof frozen);
        CHECK(length > 0, "freeze");
        dtls_counters(whole, counters);
        seal(client ? peers.server : peers.client, sizeof message, message, &record);
        for (size_t cut = 0; cut < (size_t) length && goes_on(); cut++, count++) {
            thaw_damaged(frozen, cut, counters, &record);
        }
        for (size_t at = 0; at < (size_t) length && goes_on(); at++, count++) {
            uint8_t whole_byte = frozen[at];
            static const uint8_t EDGES[] = {0, 0xff, 0x80, 33};
            frozen[at] = below(2) ? EDGES[below(4)] : whole_byte ^ (uint8_t) (1 << below(8));
            thaw_damaged(frozen, (size_t) length, counters, &record);
            frozen[at] = whole_byte;
        }
        for (size_t at = 0; at < sizeof counters; at++, count++) {
            counters[at] ^= (uint8_t) (1 + below(255));
            thaw_damaged(frozen, (size_t) length, counters, &record);
        }
    }
    pair_close(&peers);
    return count;
}

/* --- Operations in any order ---------------------------------------------------------------------------- */

#define POOL 6

typedef struct {
    dtls_session *sessions[POOL];
    int kinds[POOL]; /* -1: a server */
    uint8_t frozen[POOL][MAX_FROZEN];
    size_t frozen_lengths[POOL];
    uint8_t counters[24];
} pool;

static void fresh(pool *all, size_t place) {
    dtls_session_free(all->sessions[place]);
    /* Only strangers: whatever the order, none of them may come in. */
    static const int STRANGERS[] = {-1, -1, WRONG_PSK, UNKNOWN_PSK, WRONG_PSK, STRANGER};
    all->kinds[place] = STRANGERS[below(6)];
    all->sessions[place] =
        dtls_session_new(all->kinds[place] < 0 ? server_config : client_configs[all->kinds[place]]);
    CHECK(all->sessions[place] != NULL, "memory");
}

static void take_and_keep(dtls_session *session) {
    uint8_t flight[FLIGHT];
    size_t length = dtls_take(session, flight, below(2) ? sizeof flight : below(sizeof flight));
    for (size_t at = 0; at < length;) {
        size_t size = (size_t) flight[at] << 8 | flight[at + 1];
        datagram *place = &kept[below(KEPT)];
        place->length = size < MAX_DATAGRAM ? size : MAX_DATAGRAM;
        memcpy(place->bytes, flight + at + 2, place->length);
        at += 2 + size;
    }
}

static void operate(pool *all) {
    size_t place = below(POOL), other = below(POOL);
    dtls_session *session = all->sessions[place];
    datagram input = kept[below(KEPT)];
    uint8_t out[FLIGHT], cid[8];
    int flags;
    size_t length;
    if (below(4) == 0) {
        mutate(&input);
    }
    switch (below(17)) {
    case 0: fresh(all, place); break;
    case 1: CHECK(dtls_session_recycle(session) == 0, "recycle"); break;
    case 2: case 3: case 4: greet(session, input.bytes, input.length); break;
    case 5: case 6: case 7: /* what was thawed or is resumed comes of a key that was known */
        CHECK(advance(session, input.bytes, input.length) != 1 || dtls_settled(session) || dtls_resumed(session),
              "a stranger is in");
        break;
    case 8: dtls_advance(session, NULL, 0); break;
    case 9: open_datagram(session, input.bytes, input.length, out, &flags); break;
    case 10: dtls_seal(session, input.bytes, input.length, out, below(MAX_DATAGRAM)); break;
    case 11: {
        long frozen = dtls_freeze(session, all->frozen[place], below(2) ? MAX_FROZEN : below(MAX_FROZEN));
        all->frozen_lengths[place] = frozen > 0 ? (size_t) frozen : all->frozen_lengths[place];
        dtls_counters(session, all->counters);
        break;
    }
    case 12: dtls_thaw(session, all->frozen[other], all->frozen_lengths[other], all->counters); break;
    case 13: dtls_session_offer(session, all->frozen[other], all->frozen_lengths[other]); break;
    case 14:
        random_bytes(cid, sizeof cid);
        dtls_session_cid(session, (int) below(2), below(8) ? cid : NULL);
        break;
    case 15:
        random_bytes(cid, sizeof cid);
        dtls_ring_put(ring, 1 + (int) below(2), cid, below(9), cid, below(9));
        dtls_ring_remove(ring, 1 + (int) below(2), cid, below(9));
        break;
    default:
        dtls_alert(session, (int) below(120));
        dtls_proof(session, out, below(200), &length);
        dtls_suite(session), dtls_timer(session), dtls_resumed(session), dtls_uses_cid(session);
        dtls_hello_id(input.bytes, input.length, out);
    }
    take_and_keep(all->sessions[place]);
}

static unsigned long operations(unsigned long limit) {
    static pool all;
    unsigned long count = 0;
    memset(&all, 0, sizeof all);
    for (size_t place = 0; place < POOL; place++) {
        fresh(&all, place);
    }
    for (size_t place = 0; place < 2; place++) { /* something to thaw */
        static pair peers;
        pair_open(&peers, place ? ECDSA : PSK, 1);
        shake_hands(&peers, keep, NULL);
        all.frozen_lengths[place] = (size_t) dtls_freeze(peers.server, all.frozen[place], MAX_FROZEN);
        all.frozen_lengths[2 + place] = (size_t) dtls_freeze(peers.client, all.frozen[2 + place], MAX_FROZEN);
        dtls_counters(peers.server, all.counters);
        pair_close(&peers);
    }
    for (; count < limit && goes_on(); count++) {
        operate(&all);
    }
    for (size_t place = 0; place < POOL; place++) {
        dtls_session_free(all.sessions[place]);
    }
    return count;
}

/* --- All of it ------------------------------------------------------------------------------------------ */

static void tell(const char *part, unsigned long count) {
    printf("fuzz: %8lu %s\n", count, part);
    fflush(stdout);
}

int main(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 10, begun = now_s();
    unsigned long count = 0;
    seed_chance(seed);
    open_world();
    ends_at = begun + seconds * 0.30;
    tell("PSK handshakes, cut or flipped byte by byte", handshakes_by_the_byte(PSK));
    ends_at = begun + seconds * 0.40;
    tell("ECDSA handshakes, cut or flipped", handshakes_by_the_byte(ECDSA));
    ends_at = begun + seconds * 0.55;
    tell("handshakes changed by chance, of strangers too", handshakes_by_chance());
    ends_at = begun + seconds * 0.75;
    for (int turn = 0; goes_on(); turn++) {
        count += established(turn % 4 == 3 ? ECDSA : PSK, turn % 2);
    }
    tell("hostile datagrams to established sessions", count);
    ends_at = begun + seconds * 0.85;
    count = damaged(PSK, 1);
    count += damaged(ECDSA, 1);
    while (goes_on()) {
        count += damaged(PSK, (int) below(2));
    }
    tell("damaged sessions thawed", count);
    ends_at = begun + seconds;
    for (count = 0; goes_on();) {
        count += operations(3000);
    }
    tell("operations in any order", count);
    close_world();
    return 0;
}
