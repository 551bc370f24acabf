/* What the fuzzer plays with: peers joined in memory, chance by a seed, and inputs in blocks of exactly their
 * size, so that the sanitizer sees a byte read too many.
 */
#ifndef FLOWNEXUS_FUZZ_WORLD_H
#define FLOWNEXUS_FUZZ_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "engine.h"

#define MAX_DATAGRAM 2048
#define MAX_FROZEN 1024
#define FLIGHT 16384

enum { PSK, ECDSA, WRONG_PSK, UNKNOWN_PSK, STRANGER, KINDS };

typedef struct {
    size_t length;
    int to_server;
    uint8_t bytes[MAX_DATAGRAM];
} datagram;

typedef struct {
    int kind, cid;
    dtls_session *client, *server;
    int greeted, server_done, client_done, failed;
    size_t queued, next;
    datagram queue[64];
} pair;

/* What is called before each datagram of a handshake is delivered. */
typedef void (*hook)(pair *peers, size_t index, const datagram *next, void *context);

#define CHECK(holds, ...) \
    do { \
        if (!(holds)) { \
            fail(__LINE__, #holds, __VA_ARGS__); \
        } \
    } while (0)

_Noreturn void fail(int line, const char *what, const char *words);

/* Chance */
void seed_chance(uint64_t seed);
uint32_t below(uint32_t limit);
void random_bytes(uint8_t *out, size_t length);
/* Changes a datagram: bytes, length, records doubled or put behind each other. */
void mutate(datagram *data);

/* The world */
void open_world(void);
void close_world(void);
extern dtls_ring *ring;
extern dtls_config *server_config, *client_configs[KINDS];
int has_key(int kind);

/* Peers */
void pair_open(pair *peers, int kind, int cid);
void pair_close(pair *peers);
void deliver(pair *peers, const uint8_t *bytes, size_t length, int to_server);
void shake_hands(pair *peers, hook before, void *context);
/* A message each way arrives as it was sent. */
void exchange(pair *peers);
int greet(dtls_session *server, const uint8_t *bytes, size_t length);
int advance(dtls_session *session, const uint8_t *bytes, size_t length);
long open_datagram(dtls_session *session, const uint8_t *bytes, size_t length, uint8_t *out, int *flags);
size_t seal(dtls_session *session, size_t size, uint8_t *message, datagram *out);

#endif
