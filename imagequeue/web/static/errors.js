// What went wrong, in words for the person who has to act on it.

import { size } from "./text.js";

/** A failure with a sentence to show, after how many seconds a repeat may succeed (null: never), and the job's id. */
export class Problem extends Error {
  constructor(sentence, { retryAfter = null, id = "" } = {}) {
    super(sentence);
    this.retryAfter = retryAfter;
    this.id = id;
  }
}

const READ = "JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, JPEG 2000 and BMP can be read.";

export function tooManyBytes(file, most) {
  const has = size(file.size) === size(most) ? "a little more" : size(file.size);
  return new Problem(`Too large: files of up to ${size(most)} are taken, and this one has ${has}.`);
}

export const unreadable = () => new Problem("The file is empty, or cannot be read. If it is a folder, choose the images in it.");

export const away = () =>
  new Problem("The server does not answer. It may have been stopped, or the network is down.", { retryAfter: 0 });

/** The problem that an answer other than 200 stands for; `body` is its JSON, or null if it has none. */
export function refused(response, body) {
  const { code = "", message = "" } = body?.error ?? {};
  const header = response.headers.get("Retry-After");
  const isTransient = [401, 408, 429, 502, 503, 504].includes(response.status);
  const retryAfter = isTransient ? Number(header) || 0 : null;
  // A job's id leads to its trace; a request that was refused has none.
  const id = ["job_failed", "deadline_exceeded", "job_lost", "cancelled"].includes(code) ? body.id : "";
  // An image all the same, of a format or a kind that the server names.
  if (code === "bad_image" && NAMED.test(message)) return new Problem(message);
  return new Problem(SENTENCES[code] ?? (message || STATUSES[response.status] || "Something broke in the server."), { retryAfter, id });
}

const NAMED = /(is|are) not read (here|by this server)/;
const SENTENCES = {
  bad_image: `This is not an image, or it is damaged. ${READ}`,
  unsupported_type: `This is not an image. ${READ}`,
  queue_full: "The queue is full: more images wait than the workers can compute soon.",
  server_busy: "The server is busy with as many images as it can hold.",
  redis_busy: "The server is busy: it could not hand the image over to its queue in time.",
  no_workers: "No worker is running, so nobody can look at the image now.",
  redis_down: "The server has lost its queue; it does not reach Redis.",
  too_slow: "The upload broke off, or came too slowly.",
  job_lost: "The queue was restarted and the image was lost on the way.",
  draining: "The server is about to stop and takes nothing more.",
  deadline_exceeded: "It took too long: no worker got to the image in time.",
  client_gone: "The connection was given up before the answer came.",
  cancelled: "Somebody has cancelled this image.",
  job_failed: "The model failed on this image. Another try will hardly help.",
  unauthorized: "The server asks for an API key. Give it above.",
  wrong_host: "The server does not serve this address. Its operator can allow it, with ALLOWED_HOSTS.",
  too_many_requests: "Too many images in a short time.",
};

// Of an answer without words of its own, a proxy's for example.
const STATUSES = {
  413: "Too large: something on the way takes no file of this size.",
  502: "The server behind the proxy does not answer.",
  503: "The server takes nothing now.",
  504: "It took too long.",
};
