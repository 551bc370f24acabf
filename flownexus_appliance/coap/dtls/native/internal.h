/* What the files of the engine share, and what the library keeps to itself. Not for anybody else. */
#ifndef FLOWNEXUS_DTLS_INTERNAL_H
#define FLOWNEXUS_DTLS_INTERNAL_H

#include "engine.h"

#include <pthread.h>
#include <stdatomic.h>

#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_cookie.h>

#if !defined(MBEDTLS_THREADING_C) || !defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) || \
    MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT != 0
#error "mbedTLS must be built with threads and with the Connection ID of RFC 9146, as Debian builds it"
#endif

/* What dtls_freeze writes has to be what mbedtls_ssl_context_load reads, so the engine looks into the
 * library's structures. dtls_begin proves it against the library that is really there. */
#define INNER(structure, field) ((structure)->MBEDTLS_PRIVATE(field))

#define MAX_DATAGRAM 2048
#define MAX_NAME 128 /* of a PSK identity; a SHA-256 is 32 */
#define MAX_SECRET 64
#define MAX_CID 8
#define MAX_SUITES 16
#define MAX_ID 32          /* of a session, RFC 5246 7.4.1.2 */
#define MAX_SAVED 1024     /* a session as the library saves it, without the peer's certificate */
#define OUT_CAPACITY 16384 /* the longest flight, certificates of 4 kB and retransmitted, is far below */
#define HANDSHAKE_MTU 1200 /* IPv6 carries 1232 bytes everywhere; Zephyr takes records up to 1211 */
#define MAX_SHOWN 2048     /* of a client's Certificate message; a device's certificate is about 450 bytes */
#define RECORD_HEADER 13   /* without a Connection ID, RFC 6347 4.1 */
#define MESSAGE_HEADER 12  /* of a handshake, RFC 6347 4.2.2 */
#define RANDOMS 64         /* of server and client, as the key schedule takes them */
#define COUNTERS 24

enum { KIND_NONE = 0, KIND_PSK = 1, KIND_CERTIFICATE = 2 };
enum { RECORD_HANDSHAKE = 22, RECORD_CID = 25 };

typedef struct ring_entry ring_entry;

struct dtls_ring {
    atomic_int holders;             /* who made it, and configurations */
    mbedtls_ssl_cookie_ctx cookies; /* here, so that a change of certificate spoils no cookie under way */
    pthread_mutex_t lock;
    ring_entry **buckets;
    size_t bucket_count, count;
};

struct dtls_config {
    atomic_int holders; /* who made it, and sessions: a garbage collector frees in no order */
    mbedtls_ssl_config conf;
    mbedtls_x509_crt own, roots;
    mbedtls_pk_context key;
    dtls_ring *ring;
    int client, check_dates;
    size_t cid_length;
    int suites[MAX_SUITES + 1];
};

struct dtls_session {
    mbedtls_ssl_context ssl; /* first: callbacks are given its address */
    dtls_config *config;
    int ready; /* `ssl` is set up; without memory it may not be */
    const uint8_t *datagram;
    size_t datagram_length;
    int fed; /* this call is for a datagram, not for the timer */
    uint8_t *out;
    size_t out_length;
    int64_t timer_started_ms;
    uint32_t timer_intermediate_ms, timer_final_ms; /* 0: not set */
    int proof_kind;
    size_t proof_length;
    uint8_t proof[MAX_NAME];
    uint8_t randoms[RANDOMS]; /* the server's, then the client's */
    int has_randoms;
    mbedtls_ssl_session offer;
    int has_offer;
    int cookie_good;
    int failed; /* the error that ended the handshake; 0: none */
};

/* ring.c */
int engine_random(void *context, unsigned char *out, size_t length);
dtls_ring *ring_hold(dtls_ring *ring);
int ring_secret(dtls_ring *ring, int kind, const uint8_t *name, size_t length, uint8_t *secret);

/* config.c */
dtls_config *config_hold(dtls_config *config);

/* callbacks.c: what the library asks and tells, by configuration and by session. */
void attach_to_config(dtls_config *config);
void attach_to_session(dtls_session *session);
void attach_ring(dtls_config *config);
/* The session whose handshake goes on in this thread: some callbacks are told nothing else. */
extern _Thread_local dtls_session *at_work;
int64_t now_ms(void);

/* session.c */
int session_set_up(dtls_session *session);

/* frozen.c */
typedef struct {
    const uint8_t *session; /* as the library saves it, its header included */
    size_t session_length;
    const uint8_t *rest; /* randoms and Connection IDs, as the library's context has them */
    size_t rest_length;
    const uint8_t *own_cid;
    size_t own_cid_length;
} frozen_parts;

int copy_session(mbedtls_ssl_session *into, const mbedtls_ssl_session *from);
int learn_formats(dtls_session *session, uint8_t *context, size_t capacity, size_t *length);
size_t compose_context(const frozen_parts *parts, const uint8_t *counters, uint8_t *out, size_t capacity);
int take_apart(const uint8_t *frozen, size_t length, size_t cid_length, frozen_parts *parts);

#endif
