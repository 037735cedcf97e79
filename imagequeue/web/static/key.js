// The API key, where the server asks for one: typed once, kept for as long as the tab is open.

const NAME = "imagequeue-key";
const form = document.getElementById("key");

/** Like fetch, with the key; an answer of 401 shows the field for it. */
export async function authorized(url, options = {}) {
  const key = sessionStorage.getItem(NAME);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(url, { ...options, headers });
  form.hidden = form.hidden && response.status !== 401;
  return response;
}

/** `then` is called when a key was typed. */
export function onKey(then) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(NAME, new FormData(form).get("key").trim());
    form.hidden = true;
    then();
  });
}
