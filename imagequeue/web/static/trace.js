// The trace of a job where keys are asked for. A link carries none, so this page fetches itself once more, with the key.

import { away } from "./errors.js";
import { authorized, onKey } from "./key.js";

const problem = document.getElementById("problem");

async function bring() {
  try {
    const response = await authorized(location.href, { headers: { Accept: "text/html" } });
    if (response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      document.getElementById("trace").replaceWith(page.getElementById("trace"));
    } else if (response.status !== 401) {
      tell((await response.json().catch(() => null))?.error?.message ?? "The server has no answer.");
    }
  } catch {
    tell(away().message);
  }
}

function tell(text) {
  problem.textContent = text;
  problem.hidden = false;
}

onKey(bring);
bring();
