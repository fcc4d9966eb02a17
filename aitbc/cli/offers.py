"""`aitbc offers`: what miners offer at which price, made, withdrawn and accepted."""

from typing import Annotated, Any

import typer

from aitbc.cli.api import DEFAULT_URL, ApiKeyFile, ApiUrl, open_client
from aitbc.cli.failures import Commands
from aitbc.cli.keys import DEFAULT_KEYSTORE, KeystoreFolder
from aitbc.cli.output import AsJson, note, print_record, print_table
from aitbc.cli.passwords import PasswordFile
from aitbc.cli.sending import SigningKey, open_wallet

app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Miners' offers: list, create, cancel, accept, stats."
)

OfferId = Annotated[str, typer.Argument(metavar="OFFER", help="An offer's id: offer_…")]
JobType = Annotated[
    str | None, typer.Option("--type", help="Only of a service: aitbc registry search")
]


@app.command("list")
def list_offers(
    job_type: JobType = None,
    max_price: Annotated[
        str | None, typer.Option("--max-price", help="AIT per unit at most.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100)] = 50,
    api_url: ApiUrl = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the offers that can be accepted now."""
    with open_client(api_url, needs_key=False) as client:
        page = client.marketplace.list_offers(job_type=job_type, max_price=max_price, limit=limit)
    rows = [offer.to_dict() for offer in page.items]
    columns = ("offer_id", "miner_id", "job_type", "price", "reputation", "created_at")
    print_table("offers", columns, rows, as_json=as_json)
    if page.has_more:
        note(f"showing {len(rows)} of {page.total}; next: --limit {min(100, 2 * limit)}")


@app.command("create")
def create_offer(
    job_type: Annotated[str, typer.Option("--type", help="The service: aitbc registry search")],
    price: Annotated[str, typer.Option("--price", help="AIT per unit, with up to 9 places.")],
    max_jobs: Annotated[int, typer.Option("--max-jobs", min=1, help="How many jobs at most.")] = 1,
    duration: Annotated[
        int, typer.Option("--duration", min=1, help="Seconds until the offer ends.")
    ] = 3_600,
    miner_id: Annotated[
        str | None, typer.Option("--miner", help="Which of one's miners; with one it is that.")
    ] = None,
    min_gpu_memory: Annotated[
        str | None, typer.Option("--gpu-memory", help="GPU memory offered, like 8Gi.")
    ] = None,
    min_cpu: Annotated[str | None, typer.Option("--cpu", help="CPU offered, like 4000m.")] = None,
    key: SigningKey = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Offer work at a price, as a miner."""
    hardware = {"min_gpu_memory": min_gpu_memory, "min_cpu": min_cpu}
    requirements = {name: value for name, value in hardware.items() if value is not None}
    offer: dict[str, Any] = {
        "job_type": job_type,
        "price": price,
        "max_jobs": max_jobs,
        "duration": duration,
    }
    if requirements:
        offer["requirements"] = requirements
    if miner_id is not None:
        offer["miner_id"] = miner_id
    wallet = open_wallet(key, folder, password_file)
    with open_client(api_url, api_key_file, wallet=wallet) as client:
        made = client.marketplace.create_offer(offer)
    print_record(made.to_dict(), as_json=as_json)


@app.command("cancel")
def cancel_offer(
    offer_id: OfferId,
    key: SigningKey = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw one's own offer; jobs that accepted it keep its price."""
    wallet = open_wallet(key, folder, password_file)
    with open_client(api_url, api_key_file, wallet=wallet) as client:
        print_record(client.marketplace.cancel_offer(offer_id).to_dict(), as_json=as_json)


@app.command("accept")
def accept_offer(
    offer_id: OfferId,
    job_id: Annotated[str, typer.Option("--job", help="One's own queued job: job_…")],
    bid_price: Annotated[
        str | None, typer.Option("--bid", help="AIT per unit that one expects to pay at most.")
    ] = None,
    key: SigningKey = None,
    folder: KeystoreFolder = DEFAULT_KEYSTORE,
    password_file: PasswordFile = None,
    api_url: ApiUrl = DEFAULT_URL,
    api_key_file: ApiKeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Accept an offer for a job, which locks the offer's price for it."""
    wallet = open_wallet(key, folder, password_file)
    with open_client(api_url, api_key_file, wallet=wallet) as client:
        accepted = client.marketplace.accept_offer(offer_id, job_id, bid_price=bid_price)
    print_record(accepted.to_dict(), as_json=as_json)
    note(f"next:  aitbc jobs wait {job_id}")


@app.command("stats")
def show_stats(api_url: ApiUrl = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Show the market's totals, computed from the chain."""
    with open_client(api_url, needs_key=False) as client:
        print_record(client.marketplace.get_stats().to_dict(), as_json=as_json)
