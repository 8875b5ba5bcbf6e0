"""What the desk can do: sixteen narrow tools, and what each one promises.

The parameters before the bare `*` are what a model may fill in. `Kind` says what sort of value a parameter
takes, so that a rule can ask where the value came from. At the end are the reads that only rules ask for: a
fact is read anew for each decision, and no model sees it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Literal

from pydantic import Field

from answerable import EffectKey, Impact, Kind, NotDone, Secret, Text, fact, tool

from .reckon import reckon
from .records import (
    Address,
    Found,
    Handover,
    Item,
    MethodState,
    Order,
    OrderOwner,
    OrderState,
    Product,
    ProductName,
    Swap,
    User,
)
from .shop import Shop, ShopBusy, ShopDenied, ShopNotFound, ShopRefused, Warrant

# Patterns say what is impossible. `[0-9]` and not `\d`: a digit of another script must not name an order.
UserId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,63}$"), Kind("user_id")]
OrderId = Annotated[str, Field(pattern=r"^#[A-Z0-9]{4,12}$"), Kind("order_id")]
ItemId = Annotated[str, Field(pattern=r"^[0-9]{6,12}$"), Kind("item_id")]
ProductId = Annotated[str, Field(pattern=r"^[0-9]{6,12}$"), Kind("product_id")]
PaymentMethodId = Annotated[
    str, Field(pattern=r"^(credit_card|paypal|gift_card)_[0-9]{1,12}$"), Kind("payment_method_id")
]
Items = Annotated[list[ItemId], Field(min_length=1, max_length=50)]
Email = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$", max_length=254),
    Kind("email"),
]
Zip = Annotated[str, Field(pattern=r"^[0-9]{5}$"), Kind("zip")]
Name = Annotated[Text, Field(min_length=1, max_length=60)]
Street = Annotated[Text, Field(max_length=120)]
Place = Annotated[Text, Field(min_length=1, max_length=80)]
Reason = Literal["no longer needed", "ordered by mistake"]
Expression = Annotated[str, Field(pattern=r"^[0-9+*/(). -]+$", max_length=200)]
Summary = Annotated[Text, Field(min_length=1, max_length=1000)]

KEY_TTL_S = 24 * 3600.0
TIMEOUT_S = 2.0


@contextmanager
def _shop_says() -> Generator[None]:
    """The shop's refusals in the words of the runtime. All of them mean: certainly not done."""
    try:
        yield
    except ShopNotFound as error:
        raise NotDone(str(error), failure="not_found") from error
    except ShopRefused as error:
        raise NotDone(str(error), failure="schema") from error
    except ShopDenied as error:
        raise NotDone(str(error), failure="permission") from error
    except ShopBusy as error:
        raise NotDone(str(error), failure="upstream") from error


# --- What rules ask for ------------------------------------------------------------------------------------------


@tool(effect="read", timeout_s=TIMEOUT_S)
def order_state(order_id: OrderId, *, shop: Shop) -> OrderState:
    """Whose an order is, where it stands, what is in it and what was done to it."""
    with _shop_says():
        return shop.order_state(order_id)


@tool(effect="read", timeout_s=TIMEOUT_S)
def order_owner(order_id: OrderId, *, shop: Shop) -> OrderOwner:
    """Whose an order is; nobody's where there is no such order."""
    with _shop_says():
        return shop.order_owner(order_id)


@tool(effect="read", timeout_s=TIMEOUT_S)
def method_state(payment_method_id: PaymentMethodId, *, shop: Shop) -> MethodState:
    """Whose a payment method is, and what a gift card holds."""
    with _shop_says():
        return shop.method_state(payment_method_id)


@tool(effect="read", timeout_s=TIMEOUT_S)
def compare_items(order_id: OrderId, item_ids: Items, new_item_ids: Items, *, shop: Shop) -> Swap:
    """What it would mean to put new items in the place of old ones."""
    with _shop_says():
        return shop.compare(order_id, item_ids, new_item_ids)


_ORDER = fact(order_state, order_id="{order_id}")
_METHOD = fact(method_state, payment_method_id="{payment_method_id}")
_SWAP = fact(compare_items, order_id="{order_id}", item_ids="{item_ids}", new_item_ids="{new_item_ids}")


# --- Who is it? --------------------------------------------------------------------------------------------------


@tool(effect="read", is_result_trusted=True, timeout_s=TIMEOUT_S)
def find_user_id_by_email(email: Email, *, shop: Shop) -> Found:
    """Find out who the customer is by their e-mail address. Try this first."""
    with _shop_says():
        return shop.find_by_email(email)


@tool(effect="read", is_result_trusted=True, timeout_s=TIMEOUT_S)
def find_user_id_by_name_zip(first_name: Name, last_name: Name, zip: Zip, *, shop: Shop) -> Found:  # noqa: A002
    """Find out who the customer is by name and zip code, where they do not know their e-mail address."""
    with _shop_says():
        return shop.find_by_name_zip(first_name, last_name, zip)


# --- Looking things up -------------------------------------------------------------------------------------------


@tool(effect="read", is_result_trusted=True, data_class="personal", timeout_s=TIMEOUT_S)
def get_user_details(user_id: UserId, *, shop: Shop) -> User:
    """Look up a customer's profile: address, payment methods, the numbers of their orders."""
    with _shop_says():
        return shop.user(user_id)


@tool(
    effect="read",
    is_result_trusted=True,
    data_class="personal",
    facts={"order": fact(order_owner, order_id="{order_id}")},
    timeout_s=TIMEOUT_S,
)
def get_order_details(order_id: OrderId, *, shop: Shop) -> Order:
    """Look up an order: where it stands, what is in it, how it was paid."""
    with _shop_says():
        return shop.order(order_id)


@tool(effect="read", is_result_trusted=True, data_class="public", timeout_s=TIMEOUT_S)
def get_product_details(product_id: ProductId, *, shop: Shop) -> Product:
    """Look up a product: every variant of it, its price, and whether it is available."""
    with _shop_says():
        return shop.product(product_id)


@tool(effect="read", is_result_trusted=True, data_class="public", timeout_s=TIMEOUT_S)
def get_item_details(item_id: ItemId, *, shop: Shop) -> Item:
    """Look up one variant: its price, whether it is available, and which product it is one of."""
    with _shop_says():
        return shop.item(item_id)


@tool(effect="read", is_result_trusted=True, data_class="public", timeout_s=TIMEOUT_S)
def list_all_product_types(*, shop: Shop) -> list[ProductName]:
    """List everything that the shop sells, by name."""
    with _shop_says():
        return shop.products()


@tool(effect="read", is_result_trusted=True, data_class="public")
def calculate(expression: Expression) -> str:
    """Work out a sum, such as `3 * (12.50 + 4)`, to the cent."""
    try:
        return reckon(expression)
    except ValueError as error:
        raise NotDone(str(error), failure="schema") from error


# --- Orders that have not left -----------------------------------------------------------------------------------


@tool(
    mode="native_key",
    key_ttl_s=KEY_TTL_S,
    business_key="cancel:{order_id}",
    impact=Impact(records=1),
    facts={"order": _ORDER},
    timeout_s=TIMEOUT_S,
)
def cancel_pending_order(
    order_id: OrderId, reason: Reason, *, key: EffectKey, shop: Shop, shop_token: Secret
) -> Order:
    """Cancel an order that has not left yet. What was paid goes back to where it came from."""
    with _shop_says():
        return shop.cancel(order_id, reason, by=Warrant(key=key, token=shop_token.reveal()))


@tool(
    mode="native_key",
    key_ttl_s=KEY_TTL_S,
    business_key="address:{order_id}",
    impact=Impact(records=1),
    facts={"order": _ORDER},
    timeout_s=TIMEOUT_S,
)
def modify_pending_order_address(  # noqa: PLR0917 - the parts of an address
    order_id: OrderId,
    address1: Street,
    address2: Street,
    city: Place,
    state: Place,
    country: Place,
    zip: Zip,  # noqa: A002
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> Order:
    """Send an order that has not left yet somewhere else. Once for an order."""
    address = Address(address1=address1, address2=address2, city=city, state=state, country=country, zip=zip)
    with _shop_says():
        return shop.set_order_address(order_id, address, by=Warrant(key=key, token=shop_token.reveal()))


@tool(
    mode="native_key",
    key_ttl_s=KEY_TTL_S,
    business_key="payment:{order_id}",
    impact=Impact(records=1),
    facts={"order": _ORDER, "payment": _METHOD},
    timeout_s=TIMEOUT_S,
)
def modify_pending_order_payment(
    order_id: OrderId,
    payment_method_id: PaymentMethodId,
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> Order:
    """Pay for an order that has not left yet with one other payment method. Once for an order."""
    with _shop_says():
        return shop.set_order_payment(
            order_id, payment_method_id, by=Warrant(key=key, token=shop_token.reveal())
        )


@tool(
    mode="native_key",
    key_ttl_s=KEY_TTL_S,
    business_key="items:{order_id}",
    impact=Impact(records=1),
    facts={"order": _ORDER, "payment": _METHOD, "swap": _SWAP},
    timeout_s=TIMEOUT_S,
)
def modify_pending_order_items(
    order_id: OrderId,
    item_ids: Items,
    new_item_ids: Items,
    payment_method_id: PaymentMethodId,
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> Order:
    """Swap items of an order that has not left yet for other variants of the same products.

    Each new item stands at the place of the one that it replaces. Once for an order, and nothing can be changed
    afterwards: collect everything first. The payment method pays the difference, or gets it back.
    """
    with _shop_says():
        return shop.set_order_items(
            order_id,
            item_ids,
            new_item_ids,
            payment_method_id,
            by=Warrant(key=key, token=shop_token.reveal()),
        )


# --- Orders that have arrived ------------------------------------------------------------------------------------


@tool(
    mode="native_key",
    key_ttl_s=KEY_TTL_S,
    business_key="return:{order_id}",
    impact=Impact(records=1),
    facts={"order": _ORDER, "payment": _METHOD},
    timeout_s=TIMEOUT_S,
)
def return_delivered_order_items(
    order_id: OrderId,
    item_ids: Items,
    payment_method_id: PaymentMethodId,
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> Order:
    """Take items of a delivered order back. The money goes to the payment method when they are here."""
    with _shop_says():
        return shop.take_back(
            order_id, item_ids, payment_method_id, by=Warrant(key=key, token=shop_token.reveal())
        )


@tool(
    mode="native_key",
    key_ttl_s=KEY_TTL_S,
    business_key="exchange:{order_id}",
    impact=Impact(records=1),
    facts={"order": _ORDER, "payment": _METHOD, "swap": _SWAP},
    timeout_s=TIMEOUT_S,
)
def exchange_delivered_order_items(
    order_id: OrderId,
    item_ids: Items,
    new_item_ids: Items,
    payment_method_id: PaymentMethodId,
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> Order:
    """Swap items of a delivered order for other variants of the same products. Once for an order.

    Each new item stands at the place of the one that it replaces: collect everything first. The payment method
    pays the difference, or gets it back.
    """
    with _shop_says():
        return shop.exchange(
            order_id,
            item_ids,
            new_item_ids,
            payment_method_id,
            by=Warrant(key=key, token=shop_token.reveal()),
        )


# --- The customer, and the way out -------------------------------------------------------------------------------


@tool(mode="native_key", key_ttl_s=KEY_TTL_S, impact=Impact(records=1), timeout_s=TIMEOUT_S)
def modify_user_address(  # noqa: PLR0917 - the parts of an address
    user_id: UserId,
    address1: Street,
    address2: Street,
    city: Place,
    state: Place,
    country: Place,
    zip: Zip,  # noqa: A002
    *,
    key: EffectKey,
    shop: Shop,
    shop_token: Secret,
) -> User:
    """Change where a customer's parcels go unless an order says otherwise."""
    address = Address(address1=address1, address2=address2, city=city, state=state, country=country, zip=zip)
    with _shop_says():
        return shop.set_user_address(user_id, address, by=Warrant(key=key, token=shop_token.reveal()))


@tool(mode="native_key", key_ttl_s=KEY_TTL_S, impact=Impact(records=1), timeout_s=TIMEOUT_S)
def transfer_to_human_agents(summary: Summary, *, key: EffectKey, shop: Shop, shop_token: Secret) -> Handover:
    """Pass the customer on to a colleague, with a summary, where nothing that you may do would help."""
    with _shop_says():
        return shop.hand_over(summary, by=Warrant(key=key, token=shop_token.reveal()))


LOOK_UPS = [
    get_user_details,
    get_order_details,
    get_product_details,
    get_item_details,
    list_all_product_types,
]
ORDER_CHANGES = [
    cancel_pending_order,
    modify_pending_order_address,
    modify_pending_order_payment,
    modify_pending_order_items,
    return_delivered_order_items,
    exchange_delivered_order_items,
]
TOOLS = [
    find_user_id_by_email,
    find_user_id_by_name_zip,
    *LOOK_UPS,
    calculate,
    *ORDER_CHANGES,
    modify_user_address,
    transfer_to_human_agents,
]
"""Everything that the model is offered."""
