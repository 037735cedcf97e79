// The same request for a terminal.

/** The line for a POSIX shell; `path` is the file's name, or its path from the project's root. */
export function curlLine(path, url) {
  if (/^[\w./+-]+$/.test(path)) return `curl -F image=@${path} ${url}`;
  // Inside the quotes curl reads \" and \\; inside the shell's, only a quote has to be taken out.
  const quoted = path.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("'", "'\\''");
  return `curl -F 'image=@"${quoted}"' ${url}`;
}

/** Put an element's text on the clipboard; resolves to whether that worked. */
export async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // Without HTTPS a browser has no clipboard for scripts, but still copies what is selected.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
