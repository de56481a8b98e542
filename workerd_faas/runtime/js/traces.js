// Reports of invocations on their way to the daemon, sent in batches.

const GATHER_MS = 20;
const BATCH_CHARACTERS = 512 * 1024;
const WAITING_CHARACTERS = 4 * 1024 * 1024;
const SEND_MS = 10_000;

export class Traces {
  #waiting = [];
  #characters = 0;
  #dropped = 0;
  #underWay = 0;
  /** Until when somebody is sending. A time, since workerd may drop whoever does in the middle. */
  #sendingUntil = 0;

  /** How many have not been sent. */
  get size() {
    return this.#waiting.length + this.#underWay;
  }

  /** Keep a report; what is too much is dropped and counted. */
  add(version, trace) {
    const text = JSON.stringify({ version, trace });
    if (this.#characters + text.length > WAITING_CHARACTERS || text.length > BATCH_CHARACTERS) {
      this.#dropped++;
    } else {
      this.#waiting.push(text);
      this.#characters += text.length;
    }
  }

  /** Send all that waits and comes meanwhile, unless that is being done already. */
  async send(daemon) {
    if (Date.now() < this.#sendingUntil || !this.#any()) return;
    this.#sendingUntil = Date.now() + SEND_MS;
    try {
      await scheduler.wait(GATHER_MS);
      while (this.#any()) {
        this.#sendingUntil = Date.now() + SEND_MS;
        const dropped = this.#dropped;
        this.#dropped = 0;
        const batch = this.#take();
        this.#underWay = batch.length;
        const body = `{"dropped":${dropped},"traces":[${batch.join(",")}]}`;
        const response = await daemon.fetch("http://daemon/traces", { method: "POST", body });
        await response.body?.cancel();
      }
    } catch (error) {
      // The daemon is away: its cells end with it.
      console.error(`traces were not sent: ${error}`);
    } finally {
      this.#underWay = 0;
      this.#sendingUntil = 0;
    }
  }

  #any() {
    return this.#waiting.length > 0 || this.#dropped > 0;
  }

  #take() {
    let characters = 0;
    let count = 0;
    while (count < this.#waiting.length) {
      characters += this.#waiting[count].length;
      if (count > 0 && characters > BATCH_CHARACTERS) {
        characters -= this.#waiting[count].length;
        break;
      }
      count++;
    }
    this.#characters -= characters;
    return this.#waiting.splice(0, count);
  }
}
