/* DTLS 1.2 with Connection ID over mbedTLS, fed from memory: no sockets, no clock but the monotonic one
 * of the handshake's timers, no allocation that a stranger could make grow without bound.
 *
 * RFC 6347 (DTLS 1.2), RFC 9146 (Connection ID), RFC 4279 (PSK), RFC 7925 (profile for small devices).
 * A session is used by one thread at a time; a ring may be used by several.
 */
#ifndef FLOWNEXUS_DTLS_ENGINE_H
#define FLOWNEXUS_DTLS_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin */

typedef struct dtls_ring dtls_ring;
typedef struct dtls_config dtls_config;
typedef struct dtls_session dtls_session;

typedef struct {
    dtls_session *session;
    const uint8_t *datagram; /* NULL: the handshake's timer has run out */
    size_t length;
    int result;
} dtls_job;

/* Call once before anything else; 0, or the library's error. Handshakes with itself and compares what
 * dtls_freeze writes with what the library would: a library of another layout is found out here. */
int dtls_begin(void);
int dtls_version(void);
void dtls_describe(int error, char *text, size_t capacity);

/* What a server lets in: by PSK identity its key, by a certificate's SHA-256 nothing more. `kind` is 1 for
 * PSK, 2 for a certificate. 0, or -1 when it does not fit. */
dtls_ring *dtls_ring_new(void);
void dtls_ring_free(dtls_ring *ring);
int dtls_ring_put(dtls_ring *ring, int kind, const uint8_t *name, size_t length,
                  const uint8_t *secret, size_t secret_length);
int dtls_ring_remove(dtls_ring *ring, int kind, const uint8_t *name, size_t length);
size_t dtls_ring_count(dtls_ring *ring);

/* A configuration, fixed before its first session. Freed, it lives on until its last session has gone, and
 * its ring with it. `certificates` and `roots` are DER, one behind the other, each with its length in front
 * in three bytes. Lengths of 0: none. */
dtls_config *dtls_config_new(int client, size_t cid_length, unsigned timeout_min_ms, unsigned timeout_max_ms);
void dtls_config_free(dtls_config *config);
int dtls_config_own(dtls_config *config, const uint8_t *certificates, size_t certificates_length,
                    const uint8_t *key, size_t key_length);
int dtls_config_roots(dtls_config *config, const uint8_t *roots, size_t roots_length, int check_dates);
int dtls_config_psk(dtls_config *config, const uint8_t *identity, size_t identity_length,
                    const uint8_t *key, size_t key_length);
int dtls_config_ring(dtls_config *config, dtls_ring *ring);
int dtls_config_suites(dtls_config *config, const int *suites, size_t count);

/* A session. `cid` is the Connection ID the peer shall use, of the configuration's length. */
dtls_session *dtls_session_new(dtls_config *config);
void dtls_session_free(dtls_session *session);
int dtls_session_recycle(dtls_session *session);
int dtls_session_cid(dtls_session *session, int enabled, const uint8_t *cid);
/* What may be resumed (RFC 5246 7.3): a session as dtls_freeze wrote it. A client then asks for it; a
 * server grants it to who asks for its id. */
int dtls_session_offer(dtls_session *session, const uint8_t *frozen, size_t length);
/* The session id of a frozen session, and the one a ClientHello asks for: up to 32 bytes, the result is
 * how many, 0 for none. */
size_t dtls_frozen_id(const uint8_t *frozen, size_t length, uint8_t *out);
size_t dtls_hello_id(const uint8_t *datagram, size_t length, uint8_t *out);

/* Server: a ClientHello. 1: the cookie was good, the handshake goes on with dtls_advance. 0: a
 * HelloVerifyRequest is to be sent, the session is as new. Negative: nothing of worth. */
int dtls_hello(dtls_session *session, const uint8_t *datagram, size_t length,
               const uint8_t *address, size_t address_length);
/* Goes on with a handshake. 1: it is complete. 0: more is needed. Negative: it failed; a certificate that was
 * refused is the library's -0x2700, less 1 by an unknown CA, less 2 not in the ring, less 3 not valid now. */
int dtls_advance(dtls_session *session, const uint8_t *datagram, size_t length);
void dtls_work(dtls_job *jobs, size_t count);
/* Milliseconds until dtls_advance wants to be called without a datagram; -1: never. */
long dtls_timer(dtls_session *session);

/* Opens a datagram of an established session. `out`, at least as long as it, gets the messages, each behind
 * its length in two bytes; the result is how much. `flags`: 1 a record was authentic, 2 one was the newest
 * so far, 4 the peer has closed. Negative: the session is broken, by the peer itself: what is not authentic
 * changes nothing. */
long dtls_open(dtls_session *session, const uint8_t *datagram, size_t length, uint8_t *out, size_t capacity,
               int *flags);
/* Writes a message as one record into `out`; the record's length, or negative. */
long dtls_seal(dtls_session *session, const uint8_t *message, size_t length, uint8_t *out, size_t capacity);
/* Ends a session by an alert: 0 close_notify, else a fatal one of that number. */
int dtls_alert(dtls_session *session, int number);
/* Datagrams to be sent (of handshakes and alerts), each behind its length in two bytes: how many bytes
 * wait, and taking those that fit. */
size_t dtls_waiting(dtls_session *session);
size_t dtls_take(dtls_session *session, uint8_t *out, size_t capacity);

/* What is known after a handshake. */
int dtls_proof(dtls_session *session, uint8_t *name, size_t capacity, size_t *length); /* kind or 0 */
int dtls_suite(dtls_session *session);
int dtls_settled(dtls_session *session); /* the peer has shown that it knows the handshake is over */
int dtls_resumed(dtls_session *session);
int dtls_uses_cid(dtls_session *session);
size_t dtls_max_message(const dtls_session *session); /* what one record can carry (RFC 6066 4); 0: unknown */

/* A session as bytes, without what moves; what moves: 24 bytes. Neither changes the session. */
long dtls_freeze(dtls_session *session, uint8_t *out, size_t capacity);
void dtls_counters(dtls_session *session, uint8_t *out);
/* Into a session that is new or recycled; it must be recycled after a failure. The bytes may be any. */
int dtls_thaw(dtls_session *session, const uint8_t *frozen, size_t length, const uint8_t *counters);

/* cdef: end */

#endif
