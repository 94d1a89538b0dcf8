/** Asks the catalog. Addresses are relative, so the page also works under a path of its own. */

const PATIENCE_MS = 10_000;

/** The JSON at `path`; query members that are empty are left out. Throws an Error whose message is for people. */
export async function get(path, query = {}, signal = null) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query))
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  const patience = AbortSignal.timeout(PATIENCE_MS);
  let response;
  try {
    response = await fetch(url, {
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      headers: { Accept: "application/json" },
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error("The catalog does not answer.");
  }
  if (!response.ok) throw new Error(await complaint(response));
  return response.json();
}

async function complaint(response) {
  try {
    const { error } = await response.json();
    return error.detail ?? error.message ?? error.title;
  } catch {
    return `The catalog answered ${response.status}.`;
  }
}

/** True for the error of a request that the page itself gave up. */
export const givenUp = (error) => error?.name === "AbortError";
