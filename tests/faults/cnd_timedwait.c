/* libfaketime knows pthread_cond_timedwait and not C11's cnd_timedwait, which librdkafka waits with: with a faked clock each such wait
   would end at once (or never). On glibc the two have the same types, so this sends the one to the other. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until)
{
    int error = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}
