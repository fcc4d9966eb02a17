"""Decides what the clients offer: the tree of calls, each declared once for both of them.

Every method is a builder of `aitbc/calls` or a flow, with that one's signature.
"""

from aitbc import offering
from aitbc.calls import chain as chain_calls
from aitbc.calls import explorer as explorer_calls
from aitbc.calls import files as file_calls
from aitbc.calls import jobs as job_calls
from aitbc.calls import marketplace as market_calls
from aitbc.calls import miners as miner_calls
from aitbc.calls import receipts as receipt_calls
from aitbc.calls import services as service_calls
from aitbc.calls import webhooks as webhook_calls
from aitbc.endpoint import Resource, S, answer, items, signed
from aitbc.following import stream_job, wait_for_job
from aitbc.job import all_jobs, cancel, job, job_events, new_job, page_of_jobs, signed_job
from aitbc.live import follow_updates, live_updates


class Jobs(Resource[S]):
    """One's own jobs."""

    create = new_job(job_calls.create_job)
    get = job(job_calls.get_job)
    list = page_of_jobs(job_calls.list_jobs)
    list_all = all_jobs(job_calls.list_jobs)
    history = page_of_jobs(job_calls.list_job_history)
    history_all = all_jobs(job_calls.list_job_history)
    get_results = answer(job_calls.get_results)
    get_content = answer(job_calls.get_content)
    download = answer(job_calls.download_result)
    download_to = answer(job_calls.download_result_to)
    get_receipt = answer(job_calls.get_job_receipt)
    cancel = signed_job(cancel)
    wait = job(wait_for_job)
    stream = job_events(stream_job)


class Receipts(Resource[S]):
    """The signed receipts of completed jobs."""

    list = answer(receipt_calls.list_receipts)
    list_all = items(receipt_calls.list_receipts)
    get = answer(receipt_calls.get_receipt)
    get_bundle = answer(receipt_calls.get_receipt_bundle)
    get_opening = answer(receipt_calls.get_receipt_opening)
    verify = answer(receipt_calls.verify_receipt)


class Miners(Resource[S]):
    """The side of the contract that miners use, and what anybody may know of them."""

    register = answer(miner_calls.register_miner)
    get = answer(miner_calls.get_miner)
    get_stats = answer(miner_calls.get_miner_stats)
    list_earnings = answer(miner_calls.list_miner_earnings)
    list_all_earnings = items(miner_calls.list_miner_earnings)
    get_available_job = answer(miner_calls.get_available_job)
    claim = answer(miner_calls.claim_job)
    send_heartbeat = answer(miner_calls.send_job_heartbeat)
    complete = answer(miner_calls.complete_job)
    fail = answer(miner_calls.fail_job)


class Marketplace(Resource[S]):
    """Miners' offers, each accepted for one job."""

    create_offer = signed(offering.create_offer)
    get_offer = answer(market_calls.get_offer)
    list_offers = answer(market_calls.list_offers)
    list_all_offers = items(market_calls.list_offers)
    accept_offer = signed(offering.accept_offer)
    cancel_offer = signed(offering.cancel_offer)
    get_stats = answer(market_calls.get_market_stats)


class Services(Resource[S]):
    """Each service as a call of its own: an ordinary escrowed job."""

    infer = new_job(service_calls.infer)
    transcribe = new_job(service_calls.transcribe)
    generate_image = new_job(service_calls.generate_image)
    transcode = new_job(service_calls.transcode)
    render = new_job(service_calls.render)


class Registry(Resource[S]):
    """What can be asked for, and in what form."""

    list = answer(service_calls.list_services)
    get = answer(service_calls.get_service)
    get_schema = answer(service_calls.get_service_schema)
    get_requirements = answer(service_calls.get_service_requirements)
    validate = answer(service_calls.validate_request)


class Explorer(Resource[S]):
    """Final chain state, never a job's content."""

    list_blocks = answer(explorer_calls.list_blocks)
    list_all_blocks = items(explorer_calls.page_blocks)
    get_block = answer(explorer_calls.get_block)
    list_transactions = answer(explorer_calls.list_transactions)
    list_all_transactions = items(explorer_calls.page_transactions)
    get_transaction = answer(explorer_calls.get_chain_transaction)
    list_receipts = answer(explorer_calls.list_settlements)
    list_all_receipts = items(explorer_calls.page_settlements)
    get_receipt = answer(explorer_calls.get_settlement)
    list_miners = answer(explorer_calls.list_chain_miners)
    list_all_miners = items(explorer_calls.page_chain_miners)
    get_miner = answer(explorer_calls.get_chain_miner)
    list_offers = answer(explorer_calls.list_chain_offers)
    list_all_offers = items(explorer_calls.page_chain_offers)
    get_offer = answer(explorer_calls.get_chain_offer)
    get_job = answer(explorer_calls.get_chain_job)
    get_account = answer(explorer_calls.get_chain_account)
    get_stats = answer(explorer_calls.get_explorer_stats)
    search = answer(explorer_calls.search_chain)


class Chain(Resource[S]):
    """The chain: no key is needed, since what is sent is signed."""

    get_status = answer(chain_calls.get_chain_status)
    get_genesis = answer(chain_calls.get_genesis)
    list_validators = answer(chain_calls.list_validators)
    list_successions = answer(chain_calls.list_successions)
    list_peers = answer(chain_calls.list_peers)
    send = answer(chain_calls.send_transactions)
    get_transaction = answer(chain_calls.get_transaction)
    get_account = answer(chain_calls.get_account)
    audit_supply = answer(chain_calls.audit_supply)


class Accounts(Resource[S]):
    """Accounts of the chain."""

    get = answer(chain_calls.get_account)


class Files(Resource[S]):
    """Inputs of jobs, and what jobs made."""

    upload = answer(file_calls.upload_file)
    list = answer(file_calls.list_files)
    list_all = items(file_calls.list_files)
    download = answer(file_calls.download_file)
    download_to = answer(file_calls.download_file_to)
    delete = answer(file_calls.delete_file)


class Webhooks(Resource[S]):
    """Addresses that are told of events."""

    create = answer(webhook_calls.create_webhook)
    list = answer(webhook_calls.list_webhooks)
    list_all = items(webhook_calls.list_webhooks)
    get = answer(webhook_calls.get_webhook)
    delete = answer(webhook_calls.delete_webhook)
    test = answer(webhook_calls.send_test_event)
    rotate = answer(webhook_calls.rotate_webhook)
    list_deliveries = answer(webhook_calls.list_deliveries)
    list_all_deliveries = items(webhook_calls.list_deliveries)
    redeliver = answer(webhook_calls.redeliver)


class Live(Resource[S]):
    """What happens, as it happens."""

    updates = live_updates(follow_updates)
