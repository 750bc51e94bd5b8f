// The link to the server: a snapshot, then changes, one message a second. It repairs itself.

const QUIET_MS = 6000; // without a message for so long the link counts as lost
const AGAIN_MS = 2000;

export class Link {
  /** `sea` is filled; `on` gets loaded(), changed(newAlertIds), and lost() or found(). */
  constructor(sea, on) {
    this.sea = sea;
    this.on = on;
    this.source = null;
    this.heard = performance.now();
    this.isLost = false;
    this.loading = false;
    setInterval(() => this.#watch(), 1000);
    this.load();
  }

  async load() {
    if (this.loading) return;
    this.loading = true;
    this.source?.close();
    this.source = null;
    try {
      const answer = await fetch("/api/state");
      if (answer.status === 401) return location.assign("/login");
      if (!answer.ok) throw new Error(`the server says ${answer.status}`);
      const state = await answer.json();
      this.sea.load(state);
      this.#hear();
      this.on.loaded();
      this.#listen(state.id);
    } catch {
      this.#lose();
      setTimeout(() => this.load(), AGAIN_MS);
    } finally {
      this.loading = false;
    }
  }

  #listen(since) {
    this.source = new EventSource(`/api/stream?since=${encodeURIComponent(since)}`);
    this.source.onmessage = (event) => {
      this.#hear();
      this.on.changed(this.sea.apply(JSON.parse(event.data), performance.now()));
    };
    this.source.addEventListener("reload", () => this.load());
    this.source.onerror = () => {
      // The browser tries again by itself, unless the server refused.
      if (this.source?.readyState === EventSource.CLOSED) setTimeout(() => this.load(), AGAIN_MS);
    };
  }

  #watch() {
    if (performance.now() - this.heard < QUIET_MS) return;
    this.#lose();
    if (!this.source) this.load();
  }

  #hear() {
    this.heard = performance.now();
    if (this.isLost) {
      this.isLost = false;
      this.on.found();
    }
  }

  #lose() {
    if (!this.isLost) {
      this.isLost = true;
      this.on.lost();
    }
  }

  /** Seconds since the server was last heard. */
  get quietFor() {
    return (performance.now() - this.heard) / 1000;
  }
}
