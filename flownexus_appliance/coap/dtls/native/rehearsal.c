/* The library at hand: its version, its words for errors, and whether it fits. The engine handshakes with
 * itself and compares what it composes of a frozen session with what the library would have saved.
 */
#include <string.h>

#include <mbedtls/error.h>
#include <mbedtls/version.h>
#include <psa/crypto.h>

#include "internal.h"

static const uint8_t NAME[] = "rehearsal";

int dtls_version(void) {
    return (int) mbedtls_version_get_number();
}

void dtls_describe(int error, char *text, size_t capacity) {
    mbedtls_strerror(error, text, capacity);
}

/* Hands all that one session has to say to another. */
static void carry(dtls_session *from, dtls_session *to, int *result) {
    uint8_t datagrams[OUT_CAPACITY];
    size_t length = dtls_take(from, datagrams, sizeof datagrams);
    for (size_t at = 0; at < length;) {
        size_t size = (size_t) datagrams[at] << 8 | datagrams[at + 1];
        *result = dtls_advance(to, datagrams + at + 2, size);
        at += 2 + size;
    }
}

/* Cookies there and back; 0 once the server has taken the client's second ClientHello. */
static int greet(dtls_session *client, dtls_session *server) {
    uint8_t datagram[MAX_DATAGRAM];
    int unused;
    if (dtls_advance(client, NULL, 0) != 0) {
        return -1;
    }
    for (int turn = 0; turn < 2; turn++) {
        size_t length = dtls_take(client, datagram, sizeof datagram);
        if (length < 2 || dtls_hello(server, datagram + 2, length - 2, NAME, sizeof NAME) != turn) {
            return -1;
        }
        if (turn == 0) {
            carry(server, client, &unused);
        }
    }
    return 0;
}

/* A handshake within memory, then one message: only after it the library can save a context. */
static int rehearse(dtls_session *client, dtls_session *server) {
    static const uint8_t cid[MAX_CID] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t datagram[MAX_DATAGRAM], message[MAX_DATAGRAM];
    int done = 0, flags, unused;
    if (dtls_session_cid(client, 1, NULL) != 0 || dtls_session_cid(server, 1, cid) != 0 ||
        greet(client, server) != 0 || dtls_advance(server, NULL, 0) < 0) {
        return -1;
    }
    for (int turn = 0; turn < 8 && done != 1; turn++) {
        carry(server, client, &done);
        carry(client, server, &unused);
    }
    long length = done == 1 ? dtls_seal(client, NAME, sizeof NAME, datagram, sizeof datagram) : -1;
    if (length < 0 || dtls_open(server, datagram, (size_t) length, message, sizeof message, &flags) <= 0) {
        return -1;
    }
    return 0;
}

/* Compares a context as the library saves it with ours. */
static int compare(dtls_session *server) {
    uint8_t frozen[MAX_SAVED], counters[COUNTERS], ours[2 * MAX_SAVED], theirs[4 * MAX_SAVED];
    frozen_parts parts;
    size_t size = 0;
    long length = dtls_freeze(server, frozen, sizeof frozen);
    dtls_counters(server, counters);
    if (length < 0 || learn_formats(server, theirs, sizeof theirs, &size) != 0 ||
        take_apart(frozen, (size_t) length, MAX_CID, &parts) != 0) {
        return -1;
    }
    return compose_context(&parts, counters, ours, sizeof ours) == size && memcmp(ours, theirs, size) == 0
               ? 0
               : -1;
}

int dtls_begin(void) {
    static const uint8_t secret[16] = {0};
    if (psa_crypto_init() != PSA_SUCCESS) {
        return MBEDTLS_ERR_SSL_HW_ACCEL_FAILED;
    }
    int result = MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    dtls_ring *ring = dtls_ring_new();
    dtls_config *a = dtls_config_new(1, 0, 1000, 60000), *b = dtls_config_new(0, MAX_CID, 1000, 60000);
    dtls_session *client = NULL, *server = NULL;
    if (ring != NULL && a != NULL && b != NULL) {
        dtls_ring_put(ring, KIND_PSK, NAME, sizeof NAME, secret, sizeof secret);
        dtls_config_ring(b, ring);
        dtls_config_psk(a, NAME, sizeof NAME, secret, sizeof secret);
        client = dtls_session_new(a);
        server = dtls_session_new(b);
        if (client != NULL && server != NULL && rehearse(client, server) == 0 && compare(server) == 0) {
            result = 0;
        }
    }
    dtls_session_free(client);
    dtls_session_free(server);
    dtls_config_free(a);
    dtls_config_free(b);
    dtls_ring_free(ring);
    return result;
}
