/* The ring: who may come in. A hash table of PSK identities and certificates' fingerprints behind a lock,
 * since handshakes run in a thread of their own; and the secret of the cookies (RFC 6347 4.2.1).
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/platform_util.h>
#include <psa/crypto.h>

#include "internal.h"

#define FIRST_BUCKETS 64 /* a power of two, and so are all later numbers of them */

struct ring_entry {
    ring_entry *next;
    int kind;
    size_t name_length, secret_length;
    uint8_t name[MAX_NAME];
    uint8_t secret[MAX_SECRET];
};

int engine_random(void *context, unsigned char *out, size_t length) {
    (void) context;
    return psa_generate_random(out, length) == PSA_SUCCESS ? 0 : MBEDTLS_ERR_SSL_HW_ACCEL_FAILED;
}

static size_t hash_of(int kind, const uint8_t *name, size_t length) {
    uint64_t hash = 1469598103934665603u ^ (uint64_t) kind;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ name[i]) * 1099511628211u;
    }
    return (size_t) (hash ^ (hash >> 32));
}

/* The place that points at the entry, or at NULL where it would be. */
static ring_entry **find(dtls_ring *ring, int kind, const uint8_t *name, size_t length) {
    ring_entry **place = &ring->buckets[hash_of(kind, name, length) & (ring->bucket_count - 1)];
    while (*place != NULL && !((*place)->kind == kind && (*place)->name_length == length &&
                               memcmp((*place)->name, name, length) == 0)) {
        place = &(*place)->next;
    }
    return place;
}

static void drop(ring_entry *entry) {
    mbedtls_platform_zeroize(entry, sizeof *entry);
    free(entry);
}

dtls_ring *dtls_ring_new(void) {
    dtls_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    atomic_init(&ring->holders, 1);
    pthread_mutex_init(&ring->lock, NULL);
    mbedtls_ssl_cookie_init(&ring->cookies);
    ring->buckets = calloc(FIRST_BUCKETS, sizeof *ring->buckets);
    ring->bucket_count = ring->buckets == NULL ? 0 : FIRST_BUCKETS;
    if (ring->buckets == NULL || mbedtls_ssl_cookie_setup(&ring->cookies, engine_random, NULL) != 0) {
        dtls_ring_free(ring);
        return NULL;
    }
    return ring;
}

dtls_ring *ring_hold(dtls_ring *ring) {
    atomic_fetch_add(&ring->holders, 1);
    return ring;
}

void dtls_ring_free(dtls_ring *ring) {
    if (ring == NULL || atomic_fetch_sub(&ring->holders, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < ring->bucket_count; i++) {
        for (ring_entry *entry = ring->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            drop(entry);
        }
    }
    mbedtls_ssl_cookie_free(&ring->cookies);
    pthread_mutex_destroy(&ring->lock);
    free(ring->buckets);
    free(ring);
}

/* Without the memory for more buckets the chains grow longer, and that is all. */
static void grow(dtls_ring *ring) {
    size_t bucket_count = ring->bucket_count * 2;
    ring_entry **buckets = calloc(bucket_count, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    for (size_t i = 0; i < ring->bucket_count; i++) {
        for (ring_entry *entry = ring->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            ring_entry **place =
                &buckets[hash_of(entry->kind, entry->name, entry->name_length) & (bucket_count - 1)];
            entry->next = *place;
            *place = entry;
        }
    }
    free(ring->buckets);
    ring->buckets = buckets;
    ring->bucket_count = bucket_count;
}

static int put(dtls_ring *ring, int kind, const uint8_t *name, size_t length, const uint8_t *secret,
               size_t secret_length) {
    ring_entry **place = find(ring, kind, name, length);
    ring_entry *entry = *place;
    if (entry == NULL) {
        entry = calloc(1, sizeof *entry);
        if (entry == NULL) {
            return -1;
        }
        entry->kind = kind;
        entry->name_length = length;
        memcpy(entry->name, name, length);
        *place = entry;
        ring->count++;
    }
    mbedtls_platform_zeroize(entry->secret, sizeof entry->secret);
    if (secret_length > 0) {
        memcpy(entry->secret, secret, secret_length);
    }
    entry->secret_length = secret_length;
    if (ring->count > ring->bucket_count) {
        grow(ring);
    }
    return 0;
}

int dtls_ring_put(dtls_ring *ring, int kind, const uint8_t *name, size_t length,
                  const uint8_t *secret, size_t secret_length) {
    if (length == 0 || length > MAX_NAME || secret_length > MAX_SECRET) {
        return -1;
    }
    pthread_mutex_lock(&ring->lock);
    int result = put(ring, kind, name, length, secret, secret_length);
    pthread_mutex_unlock(&ring->lock);
    return result;
}

int dtls_ring_remove(dtls_ring *ring, int kind, const uint8_t *name, size_t length) {
    pthread_mutex_lock(&ring->lock);
    ring_entry **place = find(ring, kind, name, length);
    ring_entry *entry = *place;
    if (entry != NULL) {
        *place = entry->next;
        ring->count--;
        drop(entry);
    }
    pthread_mutex_unlock(&ring->lock);
    return entry == NULL ? -1 : 0;
}

size_t dtls_ring_count(dtls_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    size_t count = ring->count;
    pthread_mutex_unlock(&ring->lock);
    return count;
}

/* Copies the secret of an entry, MAX_SECRET bytes at most; its length, or -1 where there is no such entry. */
int ring_secret(dtls_ring *ring, int kind, const uint8_t *name, size_t length, uint8_t *secret) {
    if (ring == NULL || length == 0 || length > MAX_NAME) {
        return -1;
    }
    pthread_mutex_lock(&ring->lock);
    ring_entry *entry = *find(ring, kind, name, length);
    int found = -1;
    if (entry != NULL) {
        memcpy(secret, entry->secret, entry->secret_length);
        found = (int) entry->secret_length;
    }
    pthread_mutex_unlock(&ring->lock);
    return found;
}
