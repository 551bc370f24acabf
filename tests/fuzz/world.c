/* See world.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "material.h"
#include "world.h"

static const uint8_t IDENTITY[] = "device", SECRET[16] = "sixteen bytes...", OTHER[16] = "another sixteen.";
static const uint8_t ADDRESS[] = "127.0.0.1:5684";
static uint64_t state;

dtls_ring *ring;
dtls_config *server_config, *client_configs[KINDS];

_Noreturn void fail(int line, const char *what, const char *words) {
    fprintf(stderr, "\nFAILED line %d: %s: %s\n", line, what, words);
    abort();
}

void seed_chance(uint64_t seed) {
    state = seed * 2 + 1;
}

/* splitmix64 */
static uint64_t chance(void) {
    uint64_t mixed = state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

uint32_t below(uint32_t limit) {
    return (uint32_t) (chance() % limit);
}

void random_bytes(uint8_t *out, size_t length) {
    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t) chance();
    }
}

static void mutate_once(datagram *data) {
    static const uint8_t EDGES[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff, 20, 21, 22, 23, 25};
    size_t length = data->length, at = length == 0 ? 0 : below((uint32_t) length);
    switch (below(7)) {
    case 0: data->length = at; break;
    case 1: data->bytes[at % MAX_DATAGRAM] ^= (uint8_t) (1 << below(8)); break;
    case 2: data->bytes[at % MAX_DATAGRAM] = EDGES[below(sizeof EDGES)]; break;
    case 3: data->bytes[at % (length < 40 ? MAX_DATAGRAM : 40)] = (uint8_t) chance(); break;
    case 4: /* the same once more behind it */
        if (length * 2 <= MAX_DATAGRAM) {
            memcpy(data->bytes + length, data->bytes, length);
            data->length = length * 2;
        }
        break;
    case 5: /* something behind it */
        data->length = length + below((uint32_t) (MAX_DATAGRAM - length + 1));
        random_bytes(data->bytes + length, data->length - length);
        break;
    default: /* a record of nonsense before it */
        if (length + 20 <= MAX_DATAGRAM) {
            memmove(data->bytes + 20, data->bytes, length);
            random_bytes(data->bytes, 20);
            data->bytes[0] = (uint8_t) (20 + below(6));
            memcpy(data->bytes + 1, "\xfe\xfd\0", 3);
            data->bytes[4] = (uint8_t) below(3);
            memcpy(data->bytes + 11, "\0\7", 2);
            data->length = length + 20;
        }
    }
}

void mutate(datagram *data) {
    for (uint32_t times = 1 + below(3); times > 0; times--) {
        mutate_once(data);
    }
}

static dtls_config *client_config(int kind) {
    dtls_config *config = dtls_config_new(1, 0, 60000, 60000);
    static const int PSK_SUITES[] = {0xC0A8, 0xC0A4, 0x00A8, 0x00AE}, ECDSA_SUITES[] = {0xC0AE, 0xC02B, 0xC023};
    const uint8_t *own = kind == ECDSA ? DEVICE : STRANGER_BYTES, *key = kind == ECDSA ? DEVICE_KEY : STRANGER_KEY;
    size_t own_length = kind == ECDSA ? sizeof DEVICE : sizeof STRANGER_BYTES;
    size_t key_length = kind == ECDSA ? sizeof DEVICE_KEY : sizeof STRANGER_KEY;
    CHECK(config != NULL, "client");
    if (kind == ECDSA || kind == STRANGER) {
        CHECK(dtls_config_own(config, own, own_length, key, key_length) == 0, "own");
        CHECK(dtls_config_roots(config, ROOT, sizeof ROOT, 1) == 0, "roots");
        CHECK(dtls_config_suites(config, ECDSA_SUITES, 3) == 0, "suites");
    } else {
        size_t length = kind == UNKNOWN_PSK ? 3 : sizeof IDENTITY;
        CHECK(dtls_config_psk(config, IDENTITY, length, kind == PSK ? SECRET : OTHER, 16) == 0, "PSK");
        CHECK(dtls_config_suites(config, PSK_SUITES + below(4), 1) == 0, "suites");
    }
    return config;
}

void open_world(void) {
    CHECK(dtls_begin() == 0, "the library does not fit");
    ring = dtls_ring_new();
    server_config = dtls_config_new(0, 8, 60000, 60000);
    CHECK(ring != NULL && server_config != NULL, "memory");
    CHECK(dtls_ring_put(ring, 1, IDENTITY, sizeof IDENTITY, SECRET, sizeof SECRET) == 0, "ring");
    CHECK(dtls_ring_put(ring, 2, DEVICE_SHA256, sizeof DEVICE_SHA256, NULL, 0) == 0, "ring");
    CHECK(dtls_config_ring(server_config, ring) == 0, "ring");
    CHECK(dtls_config_own(server_config, SERVER, sizeof SERVER, SERVER_KEY, sizeof SERVER_KEY) == 0, "own");
    CHECK(dtls_config_roots(server_config, ROOT, sizeof ROOT, 1) == 0, "roots");
    for (int kind = 0; kind < KINDS; kind++) {
        client_configs[kind] = client_config(kind);
    }
}

void close_world(void) {
    dtls_ring_free(ring);
    dtls_config_free(server_config);
    for (int kind = 0; kind < KINDS; kind++) {
        dtls_config_free(client_configs[kind]);
    }
}

int has_key(int kind) {
    return kind == PSK || kind == ECDSA;
}

/* A copy in a block of its own; of nothing too. */
static uint8_t *copy(const uint8_t *bytes, size_t length) {
    uint8_t *block = malloc(length);
    CHECK(block != NULL || length == 0, "memory");
    if (length > 0) {
        memcpy(block, bytes, length);
    }
    return block;
}

int greet(dtls_session *server, const uint8_t *bytes, size_t length) {
    uint8_t *block = copy(bytes, length);
    int result = dtls_hello(server, block, length, ADDRESS, sizeof ADDRESS);
    free(block);
    return result;
}

int advance(dtls_session *session, const uint8_t *bytes, size_t length) {
    uint8_t *block = copy(bytes, length);
    int result = dtls_advance(session, block, length);
    free(block);
    return result;
}

long open_datagram(dtls_session *session, const uint8_t *bytes, size_t length, uint8_t *out, int *flags) {
    uint8_t *block = copy(bytes, length), *opened = malloc(length);
    long result = dtls_open(session, block, length, opened, length, flags);
    CHECK(result <= (long) length, "more opened than there was room for");
    if (result > 0) {
        memcpy(out, opened, (size_t) result);
    }
    free(block);
    free(opened);
    return result;
}

size_t seal(dtls_session *session, size_t size, uint8_t *message, datagram *out) {
    random_bytes(message, size);
    long length = dtls_seal(session, message, size, out->bytes, MAX_DATAGRAM);
    out->length = length < 0 ? 0 : (size_t) length;
    return out->length;
}

static const uint8_t *new_cid(void) {
    static uint8_t cid[8];
    random_bytes(cid, sizeof cid);
    return cid;
}

void pair_open(pair *peers, int kind, int cid) {
    memset(peers, 0, sizeof *peers);
    peers->kind = kind;
    peers->cid = cid;
    peers->client = dtls_session_new(client_configs[kind]);
    peers->server = dtls_session_new(server_config);
    CHECK(peers->client != NULL && peers->server != NULL, "memory");
    CHECK(dtls_session_cid(peers->client, cid, NULL) == 0, "CID");
    CHECK(dtls_session_cid(peers->server, 1, new_cid()) == 0, "CID");
}

void pair_close(pair *peers) {
    dtls_session_free(peers->client);
    dtls_session_free(peers->server);
}

static void collect(pair *peers, dtls_session *from, int to_server) {
    uint8_t flight[FLIGHT];
    size_t length = dtls_take(from, flight, sizeof flight);
    for (size_t at = 0; at < length;) {
        size_t size = (size_t) flight[at] << 8 | flight[at + 1];
        CHECK(size <= 1200, "a datagram of a handshake is too long");
        if (peers->queued < 64) {
            datagram *next = &peers->queue[peers->queued++];
            next->length = size;
            next->to_server = to_server;
            memcpy(next->bytes, flight + at + 2, size);
        }
        at += 2 + size;
    }
}

static void to_server(pair *peers, const uint8_t *bytes, size_t length) {
    uint8_t opened[MAX_DATAGRAM];
    int flags, result;
    if (peers->server_done) {
        open_datagram(peers->server, bytes, length, opened, &flags);
        return;
    }
    if (!peers->greeted) {
        result = greet(peers->server, bytes, length);
        peers->greeted = result == 1;
        result = result == 1 ? dtls_advance(peers->server, NULL, 0) : result;
    } else {
        result = advance(peers->server, bytes, length);
        peers->server_done = result == 1;
    }
    if (result < 0) {
        collect(peers, peers->server, 0);
        CHECK(dtls_session_recycle(peers->server) == 0, "recycle");
        CHECK(dtls_session_cid(peers->server, 1, new_cid()) == 0, "CID");
        peers->failed |= peers->greeted;
        peers->greeted = 0;
    }
}

void deliver(pair *peers, const uint8_t *bytes, size_t length, int for_server) {
    uint8_t opened[MAX_DATAGRAM];
    int flags;
    if (for_server) {
        to_server(peers, bytes, length);
        collect(peers, peers->server, 0);
    } else if (peers->client_done) {
        open_datagram(peers->client, bytes, length, opened, &flags);
    } else {
        int result = advance(peers->client, bytes, length);
        peers->client_done = result == 1;
        peers->failed |= result < 0;
    }
    collect(peers, peers->client, 1);
    CHECK(!peers->server_done || has_key(peers->kind), "a stranger is in");
    CHECK(!peers->client_done || has_key(peers->kind), "a stranger's handshake is complete");
}

void shake_hands(pair *peers, hook before, void *context) {
    size_t index = 0;
    CHECK(dtls_advance(peers->client, NULL, 0) == 0, "a client begins");
    collect(peers, peers->client, 1);
    while (peers->next < peers->queued && !peers->failed) {
        datagram now = peers->queue[peers->next++];
        if (before != NULL) {
            before(peers, index++, &now, context);
        }
        deliver(peers, now.bytes, now.length, now.to_server);
    }
}

static void one_way(dtls_session *from, dtls_session *to) {
    uint8_t message[600], opened[MAX_DATAGRAM];
    datagram record;
    int flags;
    size_t size = 1 + below(sizeof message);
    CHECK(seal(from, size, message, &record) > size, "seal");
    long length = open_datagram(to, record.bytes, record.length, opened, &flags);
    CHECK(length == (long) size + 2 && (flags & 3) == 3 && memcmp(opened + 2, message, size) == 0,
          "a genuine record is not opened");
}

void exchange(pair *peers) {
    one_way(peers->client, peers->server);
    one_way(peers->server, peers->client);
}
